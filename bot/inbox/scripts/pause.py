"""Holding a thread while something other than a turn works on what is kept of it."""

# KEYS active paused later | ARGV thread token seconds due -> 0 it has a turn, or is held | 1
# An active thread has a lease or a wait: this is a wait, which ends by itself if its holder dies.
PAUSE = """
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
return 1
"""

# KEYS active paused later ready mailbox | ARGV thread token -> 0 it was not held any more | 1
RESUME = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('XLEN', KEYS[5]) > 0 then
  redis.call('XADD', KEYS[4], '*', 'thread', ARGV[1])
else
  redis.call('SREM', KEYS[1], ARGV[1])
end
return 1
"""
