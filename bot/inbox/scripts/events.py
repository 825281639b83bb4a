"""Scripts for user events: message, edit, deletion, stop."""

from bot.inbox.scripts.common import ACCEPT, FIX, GAP, STOP_TURN

# KEYS seen joined early threads ... | ARGV tag thread id author message addressed sent_at place seen_seconds
# joined_seconds early_seconds channel ... Slack does not keep the order: a reply may arrive before the
# mention that it belongs to, and waits in `early`. In threads without the bot `early` fills up; then the
# oldest entry is removed.
_TAKE = (
    ACCEPT
    + GAP
    + """
local tag, thread, id, author, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local addressed, sent_at, channel = ARGV[6] == '1', tonumber(ARGV[7]), ARGV[12]
local function make_room()
  local early, oldest, at = redis.call('HGETALL', KEYS[3]), nil, math.huge
  for i = 1, #early, 2 do
    local sent = tonumber(cjson.decode(early[i + 1])[1])
    if sent < at then oldest, at = early[i], sent end
  end
  redis.call('HDEL', KEYS[3], oldest)
end
local function wait_early(edited)
  local known = redis.call('HGET', KEYS[3], id)
  if not known and redis.call('HLEN', KEYS[3]) >= 100 then make_room() end
  if not known or tonumber(cjson.decode(known)[4] or '-1') <= tonumber(edited) then
    redis.call('HSET', KEYS[3], id, cjson.encode({ARGV[7], author, message, edited}))
  end
  redis.call('EXPIRE', KEYS[3], ARGV[11])
end
local function accept_early()
  local later = {}
  local early = redis.call('HGETALL', KEYS[3])
  if #early == 0 then return end
  for i = 1, #early, 2 do
    local each = cjson.decode(early[i + 1])
    each[1] = tonumber(each[1])
    if each[1] > sent_at then later[#later + 1] = {early[i], each} end
  end
  table.sort(later, function(a, b) return a[2][1] < b[2][1] end)
  for _, each in ipairs(later) do
    if redis.call('EXISTS', tag .. ':seen:' .. each[1]) == 0 then
      accept(tag, thread, each[1], each[2][2], channel, each[2][3], each[2][4] or '-1', ARGV[9])
    end
  end
  redis.call('DEL', KEYS[3])
end
local function join()
  redis.call('SET', KEYS[2], '', 'EX', ARGV[10])
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', sent_at - ARGV[10]) -- the list grows only here
  accept_early()
end
-- A full Redis refuses a script only by its first write, which must therefore store something.
local function take(edited)
  if redis.call('EXISTS', KEYS[1]) == 1 then return 'duplicate' end
  local joined = redis.call('GET', KEYS[2])
  if not addressed and not joined then
    wait_early(edited)
    return 'ignored'
  end
  -- a message that does not address the bot is given to the agent alone: the gap stays
  local has_gap = addressed and has_mark(joined)
  accept(tag, thread, id, author, channel, message, edited, ARGV[9], has_gap)
  redis.call('ZADD', KEYS[4], 'GT', sent_at, ARGV[8])
  if not joined then join() end -- else the end of the turn renews it
  if has_gap then redis.call('SET', KEYS[2], '', 'EX', ARGV[10]) end
  return 'kept'
end
"""
)

# as above -> kept | duplicate | ignored
PUT = _TAKE + "return take('-1')"

# as above, and KEYS messages | ARGV edited_at correction_id correction is_recent
# -> replaced | kept | corrected | duplicate | ignored
# An edit of an unknown message counts as that message. An edit after a deletion is late and ignored.
CORRECT = (
    _TAKE
    + """
local edited, again = ARGV[13], ARGV[14]
if redis.call('EXISTS', KEYS[1]) == 0 then return ARGV[16] == '1' and take(edited) or 'ignored' end
if redis.call('HEXISTS', KEYS[1], 'withdrawn') == 1 then return 'ignored' end
if tonumber(redis.call('HGET', KEYS[1], 'edited') or '-1') >= tonumber(edited) then return 'duplicate' end
redis.call('HSET', KEYS[1], 'edited', edited)
local waits = redis.call('HEXISTS', KEYS[5], id) == 1
if waits and not redis.call('HGET', KEYS[1], 'turn') then
  redis.call('HSET', KEYS[5], id, message)
  return 'replaced'
end
if not waits and redis.call('GET', KEYS[2]) ~= id then return 'ignored' end
accept(tag, thread, again, author, channel, ARGV[15], '-1', ARGV[9])
redis.call('HSET', tag .. ':seen:' .. again, 'corrects', id)
return 'corrected'
"""
)

# KEYS seen | ARGV tag id whole_turn unknown_seconds reason by overrules -> ignored | refused | removed |
# stopped Corrections of the message go with it. A deletion that arrives before its message is remembered, so
# that the message is not accepted later. Other authors may still wait for the turn, unless the whole turn
# must end. Permissions of `by`: an author of the turn can end it, the author of the message can remove it,
# and a user who overrules others can do both.
WITHDRAW = (
    STOP_TURN
    + """
local tag, id, whole_turn, by = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[6]
local thread, author = unpack(redis.call('HMGET', KEYS[1], 'thread', 'author'))
local is_theirs = not whole_turn or ARGV[7] == '1' or author == by
if not whole_turn then redis.call('HSET', KEYS[1], 'withdrawn', 1) end
if not thread then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  return 'ignored'
end
local mailbox, messages = tag .. ':mailbox:' .. thread, tag .. ':messages:' .. thread
local removed, stopped, wanted, found, asked = false, false, false, false, {}
for _, entry in ipairs(redis.call('XRANGE', mailbox, '-', '+')) do
  local each = entry[2][2]
  local known = redis.call('HMGET', tag .. ':seen:' .. each, 'corrects', 'turn', 'author')
  local corrects, turn, asker = unpack(known)
  local original = corrects or each
  found = found or original == id
  if turn then
    if asker == by then asked[turn] = true end
    if original == id then stopped = turn end
    if redis.call('HEXISTS', tag .. ':seen:' .. original, 'withdrawn') == 0 then wanted = true end
  elseif original == id and is_theirs then
    redis.call('XDEL', mailbox, entry[1])
    redis.call('HDEL', messages, each)
    removed = true
  end
end
if stopped and (whole_turn and (is_theirs or asked[stopped]) or not whole_turn and not wanted) then
  stop_turn(tag, thread, stopped, ARGV[5])
  return 'stopped'
end
if removed then return 'removed' end
return found and not is_theirs and 'refused' or 'ignored'
"""
)

# KEYS mailbox messages | ARGV tag thread reason at by overrules seen_seconds
# -> idle | refused | removed | stopped
# Permissions of `by`: an author of the running turn can end it, and so can a user who overrules others.
# Messages that wait after it are removed silently, except decisions; without `overrules` only the user's own
# ones. A stop may arrive late, by catch-up: messages sent after it stay (`at` is the time of the stop, 0:
# now).
STOP = (
    FIX
    + STOP_TURN
    + """
local tag, thread, at, by, overrules = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6] == '1'
local function is_meant(entry)
  local is_readable, message = pcall(cjson.decode, redis.call('HGET', KEYS[2], entry[2][2]) or '')
  return at == 0 or not is_readable or message.sent_at <= at
end
local function is_theirs(entry)
  return overrules or redis.call('HGET', tag .. ':seen:' .. entry[2][2], 'author') == by
end
local waiting = redis.call('XRANGE', KEYS[1], '-', '+')
if #waiting == 0 or not is_meant(waiting[1]) then return 'idle' end
local turn = waiting[1][2][2]
local last = redis.call('HGET', tag .. ':turn:' .. turn, 'last')
local may_end = false
if last then
  for _, entry in ipairs(waiting) do
    may_end = may_end or is_theirs(entry)
    if entry[1] == last then break end
  end
elseif is_theirs(waiting[1]) then -- a turn of what they have asked so far
  local first = {}
  for i, entry in ipairs(waiting) do
    if not is_meant(entry) or not is_theirs(entry) or (i > 1 and is_decision(entry)) then break end
    first[i] = entry
  end
  last, may_end = fix(tag, thread, first, ARGV[7]), true
  redis.call('HSET', tag .. ':turn:' .. turn, 'last', last)
end
local behind, removed = not last, false
for _, entry in ipairs(waiting) do
  if behind and is_meant(entry) and is_theirs(entry) and not is_decision(entry) then
    redis.call('XDEL', KEYS[1], entry[1])
    redis.call('HDEL', KEYS[2], entry[2][2])
    removed = true
  end
  behind = behind or entry[1] == last
end
if may_end then
  stop_turn(tag, thread, turn, ARGV[3])
  return 'stopped'
end
return removed and 'removed' or 'refused'
"""
)
