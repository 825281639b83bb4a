"""Scripts that pause a thread while something other than a turn edits its data, and that leave it."""

from bot.inbox.scripts.common import ENQUEUE

# KEYS active paused later | ARGV thread token seconds due -> 0 it has a turn, or is held | 1 An active thread
# is leased or in `later`: a pause is an entry in `later`, which ends by itself if its holder dies.
PAUSE = """
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
return 1
"""

# KEYS active paused later mailbox | ARGV thread token tag -> 0 it was not held any more | 1
RESUME = (
    ENQUEUE
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('XLEN', KEYS[4]) > 0 then
  enqueue(ARGV[3], ARGV[1])
else
  redis.call('SREM', KEYS[1], ARGV[1])
end
return 1
"""
)

# KEYS joined partner left mailbox threads | ARGV digest seconds member... Processes that remember the thread
# would restore it, unless they find its digest in `left`. A message that waits joins it again at the end of
# its turn, which does not list it: then the thread stays in the list that is read for what was missed.
LEAVE = """
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[2])
if #ARGV > 2 and redis.call('EXISTS', KEYS[4]) == 0 then redis.call('ZREM', KEYS[5], unpack(ARGV, 3)) end
"""
