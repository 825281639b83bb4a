"""The atomic steps of the inbox, as Lua scripts that Redis runs.

Every key carries the hash tag `{bot}`, so all of them live in one slot of a Redis Cluster; keys that a
script computes (`turn:<id>`) therefore are where the declared ones are.

A thread with work has exactly one entry: in `ready` (free, or leased: pending in the group `workers`) or in
`later` (backing off). The pending entry *is* the lease: `held` is the fence that each write passes first.

    seen:<message id>    hash: thread, author, edited (-1: never), turn (once in one), corrects, withdrawn
    mailbox:<thread>     stream: the ids of the messages that wait or are being answered, in order
    messages:<thread>    hash: their texts by id
    joined:<thread>      the bot takes part; holds the message that was answered last
    early:<thread>       hash: messages that came before the one that makes the bot take part
    threads:<platform>   sorted set: threads by the time of their newest message
    turn:<id>            hash: last (mailbox entry), attempts, failures, crashes, running, receipt, stopped
"""

HELD = """
local function held(ready, consumer, lease)
  return #redis.call('XPENDING', ready, 'workers', lease, lease, 1, consumer) > 0
end
"""

_HELD = (
    HELD
    + """
local function release(ready, lease)
  redis.call('XACK', ready, 'workers', lease)
  redis.call('XDEL', ready, lease)
end
"""
)

# `tag` is what every key begins with
_ACCEPT = """
local function accept(tag, thread, id, author, message, edited, seconds)
  local seen = tag .. ':seen:' .. id
  redis.call('HSET', seen, 'thread', thread, 'author', author, 'edited', edited)
  redis.call('EXPIRE', seen, seconds)
  redis.call('XADD', tag .. ':mailbox:' .. thread, '*', 'id', id)
  redis.call('HSET', tag .. ':messages:' .. thread, id, message)
  if redis.call('SADD', tag .. ':active', thread) == 1 then
    redis.call('XADD', tag .. ':ready', '*', 'thread', thread)
  end
end
"""

# One that a stop fixed before it began is no different: nothing comes into it or out of it any more.
_FIX = """
local function fix(tag, waiting)
  local id = waiting[1][2][2]
  if redis.call('HSETNX', tag .. ':turn:' .. id, 'last', waiting[#waiting][1]) == 1 then
    for _, entry in ipairs(waiting) do
      local seen = tag .. ':seen:' .. entry[2][2]
      if redis.call('EXISTS', seen) == 1 then redis.call('HSET', seen, 'turn', id) end
    end
  end
  return id
end
"""

_STOP = """
local function stop_turn(tag, thread, turn, reason)
  redis.call('HSETNX', tag .. ':turn:' .. turn, 'stopped', reason)
  redis.call('ZADD', tag .. ':later', 'XX', 0, thread)
  redis.call('PUBLISH', tag .. ':news:stop', cjson.encode(turn))
end
"""

# KEYS seen joined early threads ...
# | ARGV tag thread id author message addressed sent_at place seen_seconds joined_seconds early_seconds ...
# Slack does not keep the order: a reply may come before the mention that it belongs to. It waits in `early`.
_TAKE = (
    _ACCEPT
    + """
local tag, thread, id, author, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local addressed, sent_at = ARGV[6] == '1', tonumber(ARGV[7])
local function wait_early(edited)
  local known = redis.call('HGET', KEYS[3], id)
  if not known or tonumber(cjson.decode(known)[4] or '-1') <= tonumber(edited) then
    redis.call('HSET', KEYS[3], id, cjson.encode({ARGV[7], author, message, edited}))
  end
  redis.call('EXPIRE', KEYS[3], ARGV[11])
end
local function accept_early()
  local later = {}
  local early = redis.call('HGETALL', KEYS[3])
  for i = 1, #early, 2 do
    local each = cjson.decode(early[i + 1])
    each[1] = tonumber(each[1])
    if each[1] > sent_at then later[#later + 1] = {early[i], each} end
  end
  table.sort(later, function(a, b) return a[2][1] < b[2][1] end)
  for _, each in ipairs(later) do
    if redis.call('EXISTS', tag .. ':seen:' .. each[1]) == 0 then
      accept(tag, thread, each[1], each[2][2], each[2][3], each[2][4] or '-1', ARGV[9])
    end
  end
  redis.call('DEL', KEYS[3])
end
local function take(edited)
  local joined = redis.call('EXISTS', KEYS[2]) == 1
  if redis.call('EXISTS', KEYS[1]) == 1 then return 'duplicate' end
  if not addressed and not joined then
    wait_early(edited)
    return 'ignored'
  end
  accept(tag, thread, id, author, message, edited, ARGV[9])
  redis.call('SET', KEYS[2], redis.call('GET', KEYS[2]) or '', 'EX', ARGV[10])
  redis.call('ZADD', KEYS[4], 'GT', sent_at, ARGV[8])
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', sent_at - ARGV[10])
  if not joined then accept_early() end
  return 'kept'
end
"""
)

# as above -> kept | duplicate | ignored
PUT = _TAKE + "return take('-1')"

# as above, and KEYS messages | ARGV edited_at correction_id correction is_recent
# -> replaced | kept | duplicate | ignored
# One of a message that never came is that message. A deletion is the last word: what comes after it is late.
CORRECT = (
    _TAKE
    + """
local edited, again = ARGV[12], ARGV[13]
if redis.call('EXISTS', KEYS[1]) == 0 then return ARGV[15] == '1' and take(edited) or 'ignored' end
if redis.call('HEXISTS', KEYS[1], 'withdrawn') == 1 then return 'ignored' end
if tonumber(redis.call('HGET', KEYS[1], 'edited') or '-1') >= tonumber(edited) then return 'duplicate' end
redis.call('HSET', KEYS[1], 'edited', edited)
local waits = redis.call('HEXISTS', KEYS[5], id) == 1
if waits and not redis.call('HGET', KEYS[1], 'turn') then
  redis.call('HSET', KEYS[5], id, message)
  return 'replaced'
end
if not waits and redis.call('GET', KEYS[2]) ~= id then return 'ignored' end
accept(tag, thread, again, author, ARGV[14], '-1', ARGV[9])
redis.call('HSET', tag .. ':seen:' .. again, 'corrects', id)
return 'kept'
"""
)

# KEYS seen | ARGV tag id whole_turn unknown_seconds reason -> ignored | removed | stopped
# What corrects the message goes with it. One that has not come yet is remembered, so that it is not taken
# when it does. Somebody may still wait for the other messages of its turn, unless the whole turn is to end.
WITHDRAW = (
    _STOP
    + """
local tag, id, whole_turn = ARGV[1], ARGV[2], ARGV[3] == '1'
local thread = redis.call('HGET', KEYS[1], 'thread')
if not whole_turn then redis.call('HSET', KEYS[1], 'withdrawn', 1) end
if not thread then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  return 'ignored'
end
local mailbox, messages = tag .. ':mailbox:' .. thread, tag .. ':messages:' .. thread
local removed, stopped, wanted = false, false, false
for _, entry in ipairs(redis.call('XRANGE', mailbox, '-', '+')) do
  local each = entry[2][2]
  local corrects, turn = unpack(redis.call('HMGET', tag .. ':seen:' .. each, 'corrects', 'turn'))
  local original = corrects or each
  if turn then
    if original == id then stopped = turn end
    if redis.call('HEXISTS', tag .. ':seen:' .. original, 'withdrawn') == 0 then wanted = true end
  elseif original == id then
    redis.call('XDEL', mailbox, entry[1])
    redis.call('HDEL', messages, each)
    removed = true
  end
end
if stopped and (whole_turn or not wanted) then
  stop_turn(tag, thread, stopped, ARGV[5])
  return 'stopped'
end
return removed and 'removed' or 'ignored'
"""
)

# KEYS mailbox messages | ARGV tag thread reason -> idle | stopped
# What waits behind the turn under way was asked before the stop, too, and goes without a word.
STOP = (
    _FIX
    + _STOP
    + """
local tag, thread = ARGV[1], ARGV[2]
local waiting = redis.call('XRANGE', KEYS[1], '-', '+')
if #waiting == 0 then return 'idle' end
local turn = fix(tag, waiting)
local last = redis.call('HGET', tag .. ':turn:' .. turn, 'last')
local behind = false
for _, entry in ipairs(waiting) do
  if behind then
    redis.call('XDEL', KEYS[1], entry[1])
    redis.call('HDEL', KEYS[2], entry[2][2])
  end
  behind = behind or entry[1] == last
end
stop_turn(tag, thread, turn, ARGV[3])
return 'stopped'
"""
)

# KEYS ready mailbox messages active | ARGV tag consumer lease thread
# -> nil fenced | {} nothing to do, lease given up
#    | {turn id, attempt, failures, crashes, crashed, stopped, error, receipt, message...}
# The first attempt fixes which messages make the turn; a later one finds the same.
BEGIN = (
    _FIX
    + _HELD
    + """
local tag = ARGV[1]
if not held(KEYS[1], ARGV[2], ARGV[3]) then return nil end
local waiting = redis.call('XRANGE', KEYS[2], '-', '+')
if #waiting == 0 then
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('SREM', KEYS[4], ARGV[4])
  release(KEYS[1], ARGV[3])
  return {}
end
local id = fix(tag, waiting)
local turn = tag .. ':turn:' .. id
local crashed = redis.call('HEXISTS', turn, 'running')
redis.call('HSET', turn, 'running', ARGV[2])
redis.call('HINCRBY', turn, 'crashes', crashed)
redis.call('HINCRBY', turn, 'attempts', 1)
local known = redis.call(
  'HMGET', turn, 'last', 'attempts', 'failures', 'crashes', 'stopped', 'error', 'receipt'
)
local begun = {
  id, tonumber(known[2]), tonumber(known[3] or '0'), tonumber(known[4]), crashed,
  known[5] or '', known[6] or '', known[7] or ''
}
for _, entry in ipairs(waiting) do
  begun[#begun + 1] = redis.call('HGET', KEYS[3], entry[2][2]) or ''
  if entry[1] == known[1] then break end
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

# KEYS ready mailbox messages active turn dead joined
# | ARGV tag consumer lease thread turn_seconds reason joined_seconds -> 0 fenced | 1
# Takes the turn's messages out (into `dead` when there is a reason) and frees the thread; one with more to do
# queues behind the others, so that a busy thread cannot starve them.
FINISH = (
    _HELD
    + """
local tag, thread = ARGV[1], ARGV[4]
if not held(KEYS[1], ARGV[2], ARGV[3]) then return 0 end
local newest = ''
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', redis.call('HGET', KEYS[5], 'last') or '-')) do
  newest = entry[2][2]
  if ARGV[6] ~= '' then
    local message = redis.call('HGET', KEYS[3], newest) or ''
    redis.call('XADD', KEYS[6], '*', 'thread', thread, 'id', newest, 'message', message, 'reason', ARGV[6])
  end
  redis.call('XDEL', KEYS[2], entry[1])
  redis.call('HDEL', KEYS[3], newest)
end
redis.call('HDEL', KEYS[5], 'running')
redis.call('EXPIRE', KEYS[5], ARGV[5])
newest = redis.call('HGET', tag .. ':seen:' .. newest, 'corrects') or newest
redis.call('SET', KEYS[7], newest, 'EX', ARGV[7])
release(KEYS[1], ARGV[3])
if redis.call('XLEN', KEYS[2]) > 0 then
  redis.call('XADD', KEYS[1], '*', 'thread', thread)
else
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('SREM', KEYS[4], thread)
end
return 1
"""
)

# KEYS ready | ARGV tag consumer (lease turn)... -> {{lost leases}, {turns to stop}}
# A bare XCLAIM would steal a lost lease back, so only what is still held is renewed.
RENEW = (
    _HELD
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
# The thread stays active: a message that arrives meanwhile waits behind the one that is tried again.
POSTPONE = (
    _HELD
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

# KEYS ready | ARGV tag consumer -> how many threads another process can take at once
HAND_OVER = """
local mine = redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 10000, ARGV[2])
for _, pending in ipairs(mine) do
  local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])
  redis.call('XACK', KEYS[1], 'workers', pending[1])
  redis.call('XDEL', KEYS[1], pending[1])
  if #entry == 1 then
    local thread = entry[1][2][2]
    local head = redis.call('XRANGE', ARGV[1] .. ':mailbox:' .. thread, '-', '+', 'COUNT', 1)
    if #head == 1 then redis.call('HDEL', ARGV[1] .. ':turn:' .. head[1][2][2], 'running') end
    redis.call('XADD', KEYS[1], '*', 'thread', thread)
  end
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', ARGV[2])
return #mine
"""

# KEYS dead | ARGV tag entry seen_seconds -> 0 there is no such entry | 1
# A fresh turn: what the old one knew of failures and of its reply would end it again. What is known of the
# message's edits stays, so that one which comes late is still known to be.
REPLAY = (
    _ACCEPT
    + """
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #entry == 0 then return 0 end
local dead = {}
for i = 1, #entry[1][2], 2 do dead[entry[1][2][i]] = entry[1][2][i + 1] end
local author, seen = cjson.decode(dead.message).author, ARGV[1] .. ':seen:' .. dead.id
redis.call('DEL', ARGV[1] .. ':turn:' .. dead.id)
redis.call('HDEL', seen, 'turn', 'withdrawn')
local edited = redis.call('HGET', seen, 'edited') or '-1'
accept(ARGV[1], dead.thread, dead.id, author, dead.message, edited, ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
"""
)

# KEYS ready | ARGV consumer lease (count argument...)... -> nil fenced | {reply...}
# Runs other writes behind the fence; an error of one is its reply, as in a pipeline.
GUARDED = (
    HELD
    + """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return nil end
local replies, at = {}, 3
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  replies[#replies + 1] = redis.pcall(unpack(ARGV, at + 1, at + count))
  at = at + count + 1
end
return replies
"""
)
