"""Lua functions that several scripts share."""

# Returns the milliseconds since the lease was renewed; nil if the consumer does not hold it.
HELD = """
local function held(ready, consumer, lease)
  local pending = redis.call('XPENDING', ready, 'workers', lease, lease, 1, consumer)[1]
  return pending and pending[3]
end
"""

LEASE = (
    HELD
    + """
local function release(ready, lease)
  if (redis.REDIS_VERSION_NUM or 0) >= 0x080200 then -- 8.2 does both at once
    redis.call('XACKDEL', ready, 'workers', 'IDS', 1, lease)
  else
    redis.call('XACK', ready, 'workers', lease)
    redis.call('XDEL', ready, lease)
  end
end
"""
)

# `tag` is the prefix of every key. The author and channel of the first message decide the worker's fair
# share.
ENQUEUE = """
local function add_ready(tag, thread, author, channel)
  return redis.call('XADD', tag .. ':ready', '*', 'thread', thread, 'author', author, 'channel', channel)
end
local function enqueue(tag, thread)
  local head = redis.call('XRANGE', tag .. ':mailbox:' .. thread, '-', '+', 'COUNT', 1)[1]
  local owner = head and redis.call('HMGET', tag .. ':seen:' .. head[2][2], 'author', 'channel') or {}
  add_ready(tag, thread, owner[1] or '', owner[2] or '')
end
"""

# `joined` holds the message that an edit can name. While messages of the thread were not given to the agent,
# a mark follows it: `|<time of the earliest>|gap`. Earlier versions wrote no time: then it may be any.
GAP = """
local function read_joined(joined) -- -> the message, and the time if there is a mark
  local marked = joined and string.match(joined, '^(.*)|gap$')
  if not marked then return joined end
  local id, at = string.match(marked, '^(.*)|([%d.]+)$')
  return id or marked, at or '0'
end
local function with_mark(id, at) return id .. '|' .. at .. '|gap' end
local function earliest(at, other) return other and tonumber(other) < tonumber(at) and other or at end
local function set_mark(tag, thread, at)
  local key = tag .. ':joined:' .. thread
  local joined = redis.call('GET', key)
  if not joined then return end
  local id, known = read_joined(joined)
  local marked = with_mark(id, earliest(at, known))
  if marked ~= joined then redis.call('SET', key, marked, 'KEEPTTL') end
end
local function remove_entry(tag, thread, entry) -- of a message that no turn has
  redis.call('XDEL', tag .. ':mailbox:' .. thread, entry[1])
  redis.call('HDEL', tag .. ':messages:' .. thread, entry[2][2])
  if entry[2][4] then set_mark(tag, thread, entry[2][4]) end
end
"""

# A thread that was not active has an empty mailbox: then this message is its first, and the new entry of
# `ready` is returned. An entry of the mailbox with the field `gap` follows messages that the agent was not
# given: the time of the earliest.
ACCEPT = (
    ENQUEUE
    + """
local function accept(tag, thread, id, author, channel, message, edited, seconds, gap)
  local seen = tag .. ':seen:' .. id
  redis.call('HSET', seen, 'thread', thread, 'author', author, 'channel', channel, 'edited', edited)
  redis.call('EXPIRE', seen, seconds)
  redis.call('XADD', tag .. ':mailbox:' .. thread, '*', 'id', id, unpack(gap and {'gap', gap} or {}))
  redis.call('HSET', tag .. ':messages:' .. thread, id, message)
  if redis.call('SADD', tag .. ':active', thread) == 1 then return add_ready(tag, thread, author, channel) end
end
"""
)

# Returns the last entry of a new turn, to be stored as its `last`; then its set of messages does not change
# any more. A decision is a turn of its own, and so is the order to regenerate an answer. `seen` has its
# thread, unless it has expired or was evicted: then HSET adds two fields instead of one, and makes it again,
# which must not be for ever.
FIX = """
local function is_decision(entry) return string.sub(entry[2][2], 1, 9) == 'decision:' end
local function is_alone(entry)
  return is_decision(entry) or string.sub(entry[2][2], 1, 11) == 'regenerate:'
end
local function fix(tag, thread, waiting, seconds)
  local id, most = waiting[1][2][2], 1
  while most < #waiting and not is_alone(waiting[most]) and not is_alone(waiting[most + 1]) do
    most = most + 1
  end
  for i = 1, most do
    local seen = tag .. ':seen:' .. waiting[i][2][2]
    local added = redis.call('HSET', seen, 'turn', id, 'thread', thread)
    if added == 2 then redis.call('EXPIRE', seen, seconds) end
  end
  return waiting[most][1]
end
"""

# Begins or resumes the turn of the messages that wait. The first attempt fixes the set of its messages; a
# later attempt finds the same set. The arguments from `first` on are keys, which belong to what the turn
# does; their values are returned.
# -> {turn id, attempt, failures, crashes, crashed, hangs, stopped, error, receipt, {value...},
#     (id, message, gap)...}
START = (
    FIX
    + """
local function start(tag, consumer, thread, waiting, seconds, first)
  local id = waiting[1][2][2]
  local turn = tag .. ':turn:' .. id
  local fields = {
    'last', 'running', 'attempts', 'failures', 'crashes', 'hangs', 'stopped', 'error', 'receipt'
  }
  local last, runner, attempts, failures, crashes, hangs, stopped, error, receipt = unpack(
    redis.call('HMGET', turn, unpack(fields))
  )
  last = last or fix(tag, thread, waiting, seconds)
  -- a process that resumes its own turn lost Redis or its lease, but did not crash
  local crashed = runner and runner ~= consumer and 1 or 0
  attempts, crashes = (attempts or 0) + 1, (crashes or 0) + crashed
  redis.call('HSET', turn, 'last', last, 'running', consumer, 'attempts', attempts, 'crashes', crashes)
  local begun = {
    id, attempts, tonumber(failures or 0), crashes, crashed, tonumber(hangs or 0), stopped or '', error or '',
    receipt or '', ARGV[first] and redis.call('MGET', unpack(ARGV, first)) or {}
  }
  for _, entry in ipairs(waiting) do
    begun[#begun + 1] = entry[2][2]
    begun[#begun + 1] = redis.call('HGET', tag .. ':messages:' .. thread, entry[2][2]) or ''
    begun[#begun + 1] = entry[2][4] or ''
    if entry[1] == last then break end
  end
  return begun
end
"""
)

STOP_TURN = """
local function stop_turn(tag, thread, turn, reason)
  redis.call('HSETNX', tag .. ':turn:' .. turn, 'stopped', reason)
  redis.call('ZADD', tag .. ':later', 'XX', 0, thread)
  redis.call('PUBLISH', tag .. ':news:stop', cjson.encode(turn))
end
"""

# HINCRBY of several fields at once: the arguments from `first` to `last` are each field and its number. A new
# field sets the expiry time, so that a new hash has one, too.
INCREASE_ALL = """
local function increase_all(key, seconds, first, last)
  local fields, sums, has_new = {}, {}, false
  for i = first, last, 2 do fields[#fields + 1] = ARGV[i] end
  for i, value in ipairs(redis.call('HMGET', key, unpack(fields))) do
    has_new = has_new or not value
    sums[2 * i - 1], sums[2 * i] = fields[i], (value or 0) + ARGV[first + 2 * i - 1]
  end
  redis.call('HSET', key, unpack(sums))
  if has_new then redis.call('EXPIRE', key, seconds) end
  return 1
end
"""
