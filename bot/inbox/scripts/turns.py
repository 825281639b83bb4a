"""Scripts for turns and their leases."""

from bot.inbox.scripts.common import ENQUEUE, GAP, HELD, INCREASE_ALL, LEASE, START

# KEYS ready mailbox messages active | ARGV tag consumer lease thread idle_ms seen_seconds read...
# -> nil fenced | {} nothing to do, lease given up | as START
# A lease that has waited for `idle_ms` or longer is renewed, after the writes by which a full Redis refuses
# the turn.
BEGIN = (
    START
    + LEASE
    + """
local idle = held(KEYS[1], ARGV[2], ARGV[3])
if not idle then return nil end
local waiting = redis.call('XRANGE', KEYS[2], '-', '+')
if #waiting == 0 then
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('SREM', KEYS[4], ARGV[4])
  release(KEYS[1], ARGV[3])
  return {}
end
local begun = start(ARGV[1], ARGV[2], ARGV[4], waiting, ARGV[6], 7)
if idle >= tonumber(ARGV[5]) then
  redis.call('XCLAIM', KEYS[1], 'workers', ARGV[2], 0, ARGV[3], 'JUSTID')
end
return begun
"""
)

# KEYS cause turns... Ends the attempts of the turns beside the cause, so that they count no crash.
_END_ATTEMPTS = """
local function end_attempts(consumer)
  for i = 2, #KEYS do
    if redis.call('HGET', KEYS[i], 'running') == consumer then redis.call('HDEL', KEYS[i], 'running') end
  end
end
"""

# KEYS turn others... | ARGV consumer -> 0 it has ended | 1 Sent by a process that exits now. It is not
# fenced, because the hang has lost the lease, and the next holder of the turn must know. Only an ended turn
# has a TTL. If the turn has ended, its hang belongs to an unknown turn: then each counts a crash, or the
# process would hang for ever.
TURN_HUNG = (
    _END_ATTEMPTS
    + """
if redis.call('TTL', KEYS[1]) ~= -1 then return 0 end
end_attempts(ARGV[1])
redis.call('HINCRBY', KEYS[1], 'hangs', 1)
return 1
"""
)

# KEYS hung turns... | ARGV consumer event seconds Sent by a process that exits now, as above.
EVENT_HUNG = (
    _END_ATTEMPTS
    + """
end_attempts(ARGV[1])
redis.call('HINCRBY', KEYS[1], ARGV[2], 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""
)

# KEYS ready turn | ARGV consumer lease receipt -> 0 fenced | 1
KEEP = (
    LEASE
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], 'receipt', ARGV[3])
return 1
"""
)

# KEYS ready mailbox messages active turn dead joined details [filing] | ARGV tag consumer lease thread
# turn_seconds joined_seconds reason answered receipt filed most gap kept kept_seconds question stands
# entry field text revision id...
# -> 0 fenced | 1 | the entry of `filing`. Removes the turn's messages (into `dead` if there is a reason) and
# frees the thread; a thread with more messages queues after the others, so that a busy thread cannot starve
# them. `answered` is the message that an edit can name from now on. An empty `answered` or `receipt` leaves
# what is stored. The stream `filing`, of about `most` entries, belongs to the long-term memory, and `details`
# (if any are `kept`) to the buttons of the answer. A `question` was answered again, and `stands` is its
# answer from now on. `gap`: the time of the earliest message that the agent was not given, if any. The `text`
# is a field of the hash `entry`, a conversation, if that exists still.
FINISH = (
    ENQUEUE
    + LEASE
    + GAP
    + """
local tag, thread, reason = ARGV[1], ARGV[4], ARGV[7]
if not held(KEYS[1], ARGV[2], ARGV[3]) then return 0 end
local of_turn, ended, waits = {}, {}, false
for i = 21, #ARGV do of_turn[ARGV[i]] = true end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
  if of_turn[entry[2][2]] then ended[#ended + 1] = entry else waits = true end
end
if reason ~= '' then
  for _, entry in ipairs(ended) do
    local id = entry[2][2]
    local message = redis.call('HGET', KEYS[3], id) or ''
    redis.call('XADD', KEYS[6], '*', 'thread', thread, 'id', id, 'message', message, 'reason', reason)
  end
end
redis.call('EXPIRE', KEYS[5], ARGV[5]) -- marks its end, so `running` may stay; also a full Redis lets it end
if ARGV[9] ~= '' then redis.call('HSET', KEYS[5], 'receipt', ARGV[9]) end
if ARGV[8] == '' then
  redis.call('EXPIRE', KEYS[7], ARGV[6])
else
  local gap = ARGV[12] ~= '' and ARGV[12]
  local answered = gap and with_mark(ARGV[8], gap) or ARGV[8]
  local _, missing = read_joined(redis.call('SET', KEYS[7], answered, 'EX', ARGV[6], 'GET'))
  if missing and missing ~= gap then -- messages were passed over during the turn
    redis.call('SET', KEYS[7], with_mark(ARGV[8], earliest(missing, gap)), 'EX', ARGV[6])
  end
end
release(KEYS[1], ARGV[3])
if ARGV[13] ~= '' and not redis.call('SET', KEYS[8], ARGV[13], 'EX', ARGV[14], 'NX') then
  redis.call('SET', KEYS[8], ARGV[13], 'KEEPTTL') -- a vote on the growing answer has set a longer time
  redis.call('EXPIRE', KEYS[8], ARGV[14], 'GT')
end
local seen = ARGV[15] ~= '' and ARGV[16] ~= '' and tag .. ':seen:' .. ARGV[15]
if seen and redis.call('EXISTS', seen) == 1 then redis.call('HSET', seen, 'answer', ARGV[16]) end
if ARGV[17] ~= '' and redis.call('EXISTS', ARGV[17]) == 1 then
  redis.call('HSET', ARGV[17], ARGV[18], ARGV[19], 'revision', ARGV[20])
end
local filed = KEYS[9] and redis.call('XADD', KEYS[9], 'MAXLEN', '~', ARGV[11], '*', 'turn', ARGV[10])
if waits then
  for _, entry in ipairs(ended) do
    redis.call('XDEL', KEYS[2], entry[1])
    redis.call('HDEL', KEYS[3], entry[2][2])
  end
  enqueue(tag, thread)
else
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('SREM', KEYS[4], thread)
end
return filed or 1
"""
)

# KEYS ready | ARGV tag consumer (lease turn)... -> {{lost leases}, {turns to stop}}
# A bare XCLAIM would steal a lost lease back, so only leases that are still held are renewed.
RENEW = (
    LEASE
    + """
local lost, stopped = {}, {}
for i = 3, #ARGV, 2 do
  if held(KEYS[1], ARGV[2], ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], 'workers', ARGV[2], 0, ARGV[i], 'JUSTID')
    if redis.call('HEXISTS', ARGV[1] .. ':turn:' .. ARGV[i + 1], 'stopped') == 1 then
      stopped[#stopped + 1] = ARGV[i + 1]
    end
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return {lost, stopped}
"""
)

# KEYS ready later turn | ARGV consumer lease thread due failed error -> 0 fenced | 1
# The thread stays active: a message that arrives meanwhile waits after the turn that is retried.
POSTPONE = (
    LEASE
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[3], 'running')
redis.call('HINCRBY', KEYS[3], 'failures', ARGV[5])
redis.call('HSET', KEYS[3], 'error', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
release(KEYS[1], ARGV[2])
return 1
"""
)

# KEYS ready later | ARGV consumer due (lease thread)... Defers leases whose turns have not begun; the state
# of an earlier attempt stays as it is. Leases that are not held any more are skipped.
DEFER = (
    LEASE
    + """
for i = 3, #ARGV, 2 do
  if held(KEYS[1], ARGV[1], ARGV[i]) then
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[i + 1])
    release(KEYS[1], ARGV[i])
  end
end
"""
)

# KEYS later | ARGV now tag -> how many threads are ready again
# A paused thread stays in `later`, even if a stop has changed its time.
WAKE = (
    ENQUEUE
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 100)
local woken = 0
for _, thread in ipairs(due) do
  if redis.call('EXISTS', ARGV[2] .. ':paused:' .. thread) == 1 then
    redis.call('ZADD', KEYS[1], ARGV[1] + 1, thread)
  else
    redis.call('ZREM', KEYS[1], thread)
    enqueue(ARGV[2], thread)
    woken = woken + 1
  end
end
return woken
"""
)

# KEYS ready | ARGV earlier consumer idle_ms -> {{lease, fields}, ...} Takes the leases that were not renewed
# for so long, of an earlier start or of the consumer itself. One atomic step, because deleting a consumer
# drops its leases: nothing may be leased in between.
TAKE_BACK = """
local earlier, consumer, taken = ARGV[1], ARGV[2], {}
local idle = {'IDLE', ARGV[3], '-', '+', 10000, earlier}
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], 'workers', unpack(idle))) do
  for _, entry in ipairs(redis.call('XCLAIM', KEYS[1], 'workers', consumer, 0, pending[1])) do
    taken[#taken + 1] = entry
  end
end
local is_left = earlier ~= consumer and #redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 1, earlier) == 0
if is_left then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', earlier)
end
return taken
"""

# KEYS ready | ARGV tag consumer lease_to_keep... -> how many threads another process can take at once
HAND_OVER = (
    ENQUEUE
    + """
local kept, handed = {}, 0
for i = 3, #ARGV do kept[ARGV[i]] = true end
local mine = redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 10000, ARGV[2])
for _, pending in ipairs(mine) do
  if not kept[pending[1]] then
    local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])
    redis.call('XACK', KEYS[1], 'workers', pending[1])
    redis.call('XDEL', KEYS[1], pending[1])
    if #entry == 1 then
      local thread = entry[1][2][2]
      local head = redis.call('XRANGE', ARGV[1] .. ':mailbox:' .. thread, '-', '+', 'COUNT', 1)
      local turn = #head == 1 and ARGV[1] .. ':turn:' .. head[1][2][2]
      -- a turn that another process runs has crashed there: the next attempt must know
      if turn and redis.call('HGET', turn, 'running') == ARGV[2] then redis.call('HDEL', turn, 'running') end
      enqueue(ARGV[1], thread)
    end
    handed = handed + 1
  end
end
if handed == #mine then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', ARGV[2]) end
return handed
"""
)

# KEYS ready | ARGV consumer lease (count argument...)... -> nil fenced | {reply...}
# Runs other writes behind the fence; the reply of a failed one is its error, as in a pipeline. INCREASE, with
# the arguments key, seconds, (field number)..., is not a command of Redis.
FENCED = (
    HELD
    + INCREASE_ALL
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return nil end
local function increase(at, last)
  local is_done, reply = pcall(increase_all, ARGV[at], ARGV[at + 1], at + 2, last)
  return (is_done or type(reply) == 'table') and reply or redis.error_reply(reply)
end
local replies, at = {}, 3
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  local is_increase = ARGV[at + 1] == 'INCREASE'
  replies[#replies + 1] = is_increase and increase(at + 2, last) or redis.pcall(unpack(ARGV, at + 1, last))
  at = last + 1
end
return replies
"""
)

# KEYS hash | ARGV seconds (field number)...
INCREASE = INCREASE_ALL + "return increase_all(KEYS[1], ARGV[1], 2, #ARGV)"
