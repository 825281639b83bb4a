"""The atomic steps of the inbox, as Lua scripts that Redis runs.

Every key carries the hash tag `{bot}`, so all of them live in one slot of a Redis Cluster; keys that a
script computes (`turn:<id>`) therefore are where the declared ones are.

A thread with work has exactly one entry: in `ready` (free, or leased: pending in the group `workers`) or in
`later` (backing off). The pending entry *is* the lease: `held` is the fence that each write passes first.
"""

_HELD = """
local function held(ready, consumer, lease)
  return #redis.call('XPENDING', ready, 'workers', lease, lease, 1, consumer) > 0
end
local function release(ready, lease)
  redis.call('XACK', ready, 'workers', lease)
  redis.call('XDEL', ready, lease)
end
"""

# KEYS seen mailbox active ready joined | ARGV thread id message addressed seen_seconds joined_seconds
PUT = """
if ARGV[4] == '0' and redis.call('EXISTS', KEYS[5]) == 0 then return 'ignored' end
if not redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[5]) then return 'duplicate' end
redis.call('SET', KEYS[5], 1, 'EX', ARGV[6])
redis.call('XADD', KEYS[2], '*', 'id', ARGV[2], 'message', ARGV[3])
if redis.call('SADD', KEYS[3], ARGV[1]) == 1 then redis.call('XADD', KEYS[4], '*', 'thread', ARGV[1]) end
return 'kept'
"""

# KEYS ready mailbox active | ARGV consumer lease thread turn_prefix
# -> nil fenced | {} nothing to do, lease given up | {turn id, attempt, receipt, message...}
# The first attempt fixes which messages make the turn; a later one finds the same.
BEGIN = (
    _HELD
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return nil end
local waiting = redis.call('XRANGE', KEYS[2], '-', '+')
if #waiting == 0 then
  redis.call('SREM', KEYS[3], ARGV[3])
  release(KEYS[1], ARGV[2])
  return {}
end
local id = waiting[1][2][2]
local turn = ARGV[4] .. id
redis.call('HSETNX', turn, 'last', waiting[#waiting][1])
local last = redis.call('HGET', turn, 'last')
local begun = {id, redis.call('HINCRBY', turn, 'attempts', 1), redis.call('HGET', turn, 'receipt') or ''}
for _, entry in ipairs(waiting) do
  begun[#begun + 1] = entry[2][4]
  if entry[1] == last then break end
end
return begun
"""
)

# KEYS ready turn | ARGV consumer lease receipt -> 0 fenced | 1
KEEP = (
    _HELD
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], 'receipt', ARGV[3])
return 1
"""
)

# KEYS ready mailbox active turn dead | ARGV consumer lease thread turn_seconds reason -> 0 fenced | 1
# Takes the turn's messages out (into `dead` when there is a reason) and frees the thread; one with more to do
# queues behind the others, so that a busy thread cannot starve them.
FINISH = (
    _HELD
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', redis.call('HGET', KEYS[4], 'last') or '-')) do
  if ARGV[5] ~= '' then
    redis.call('XADD', KEYS[5], '*', 'thread', ARGV[3], 'message', entry[2][4], 'reason', ARGV[5])
  end
  redis.call('XDEL', KEYS[2], entry[1])
end
redis.call('EXPIRE', KEYS[4], ARGV[4])
release(KEYS[1], ARGV[2])
if redis.call('XLEN', KEYS[2]) > 0 then
  redis.call('XADD', KEYS[1], '*', 'thread', ARGV[3])
else
  redis.call('DEL', KEYS[2])
  redis.call('SREM', KEYS[3], ARGV[3])
end
return 1
"""
)

# KEYS ready | ARGV consumer lease... -> the leases that are lost
# A bare XCLAIM would steal a lost lease back, so only what is still held is renewed.
RENEW = (
    _HELD
    + """
local lost = {}
for i = 2, #ARGV do
  if held(KEYS[1], ARGV[1], ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], 'workers', ARGV[1], 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""
)

# KEYS ready later | ARGV consumer lease thread due -> 0 fenced | 1
# The thread stays active: a message that arrives meanwhile waits behind the one that is tried again.
POSTPONE = (
    _HELD
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
release(KEYS[1], ARGV[2])
return 1
"""
)

# KEYS ready later | ARGV now -> how many threads are ready again
WAKE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, 100)
for _, thread in ipairs(due) do
  redis.call('ZREM', KEYS[2], thread)
  redis.call('XADD', KEYS[1], '*', 'thread', thread)
end
return #due
"""

# KEYS ready | ARGV earlier consumer -> {lease, thread, lease, thread, ...}
# One step, since deleting a consumer drops what it has leased: nothing may be leased in between.
TAKE_BACK = """
local taken = {}
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 10000, ARGV[1])) do
  for _, entry in ipairs(redis.call('XCLAIM', KEYS[1], 'workers', ARGV[2], 0, pending[1])) do
    taken[#taken + 1] = entry[1]
    taken[#taken + 1] = entry[2][2]
  end
end
if #redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 1, ARGV[1]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', ARGV[1])
end
return taken
"""

# KEYS ready | ARGV consumer -> how many threads another process can take at once
HAND_OVER = """
local mine = redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 10000, ARGV[1])
for _, pending in ipairs(mine) do
  local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])
  redis.call('XACK', KEYS[1], 'workers', pending[1])
  redis.call('XDEL', KEYS[1], pending[1])
  if #entry == 1 then redis.call('XADD', KEYS[1], '*', 'thread', entry[1][2][2]) end
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', ARGV[1])
return #mine
"""
