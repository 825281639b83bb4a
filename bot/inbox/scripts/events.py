"""Scripts for user events: message, edit, deletion, stop, answer in words."""

from bot.inbox.scripts.common import ACCEPT, FIX, GAP, START, STOP_TURN

# The policy decides about messages that do not address the bot: always | partner | mention; it is empty where
# each message addresses the bot. A purpose is that of `bot.chat.Message`.
_FOLLOW = """
local policy, since, partner = ARGV[13], nil, nil
local partner_seconds = ARGV[10] + 86400
local function read_partner(state)
  since, partner = string.match(state or '', '^(%S+) (.*)$')
  since = tonumber(since)
end
local function follow(author, at)
  since, partner = tonumber(at), author
  redis.call('SET', KEYS[5], at .. ' ' .. author, 'EX', partner_seconds)
end
-- It lives a day longer than the thread, whose turns renew both. So a mention within an hour need not, nor a
-- message soon after another one, which saves most turns a command.
local function renew_partner(is_recent, at)
  if since and (not is_recent or at - since > 3600) then
    redis.call('EXPIRE', KEYS[5], partner_seconds)
  end
end
local asked, has_more = ARGV[1] .. ':asked:' .. ARGV[2], false
local function is_asked(author)
  for _, authors in ipairs(has_more and redis.call('HVALS', asked) or {}) do
    if authors == '*' or string.find(authors, '\\n' .. author .. '\\n', 1, true) then return true end
  end
  return false
end
-- Of a message that does not address the bot; one of somebody else ends that the bot follows its partner.
local function is_followed(author, at, purpose)
  if policy == '' or purpose == 'command' then return true end
  if purpose == 'quiet' then
    if not since or tonumber(at) >= since then follow('!', at) end
    return true
  end
  if is_asked(author) then return true end
  if policy == 'mention' or partner == '!' then return false end
  if policy == 'always' then return true end
  if not partner then follow(author, at) end
  if tonumber(at) < since then return false end
  if author == partner then return purpose ~= 'aside' end
  if partner ~= '' then follow('', at) end
  return false
end
-- Of a message that addresses the bot -> whether it makes somebody the partner. A late one changes nothing,
-- except where no partner is left because its follow-ups have arrived before it.
local function heed(author, at, purpose)
  if policy == '' or (purpose == 'command' and partner) then return false end
  if since and tonumber(at) < since and partner ~= '' then return false end
  if purpose == 'quiet' then author = '!' end
  if author == partner then return false end
  follow(author, at)
  return author ~= '!'
end
"""

# KEYS seen joined early threads partner ... | ARGV tag thread id author message addressed sent_at place
# seen_seconds joined_seconds early_seconds channel policy purpose listed_seconds is_listed ... Slack does not
# keep the order: a reply may arrive before the mention that it belongs to, and waits in `early`. In threads
# without the bot `early` fills up; then the oldest entry is removed. A stop may arrive before the message
# that it is about, which then ends at once. A thread's score in `threads` is set so many seconds ahead, and
# not again while the process knows that it is no earlier than the message (`is_listed`). Until then `partner`
# is renewed only by what the bot follows for longer than an hour.
_TAKE = (
    ACCEPT
    + START
    + STOP_TURN
    + GAP
    + _FOLLOW
    + """
local tag, thread, id, author, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local addressed, sent_at, channel, purpose = ARGV[6] == '1', tonumber(ARGV[7]), ARGV[12], ARGV[14]
local stops, lease = tag .. ':stops:' .. thread, nil
local function is_stopped(by, at)
  for _, stopped_at in ipairs(redis.call('HMGET', stops, by, '*')) do
    if stopped_at and at <= tonumber(stopped_at) then return true end
  end
  return false
end
local function stop_at_once()
  local mailbox = tag .. ':mailbox:' .. thread
  local first = redis.call('XRANGE', mailbox, '-', '+', 'COUNT', 1)[1]
  if first[2][2] == id then
    redis.call('HSET', tag .. ':turn:' .. id, 'last', fix(tag, thread, {first}, ARGV[9]))
    stop_turn(tag, thread, id, 'stop')
  else -- as a stop removes what waits
    remove_entry(tag, thread, redis.call('XREVRANGE', mailbox, '+', '-', 'COUNT', 1)[1])
  end
end
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
    redis.call('HSET', KEYS[3], id, cjson.encode({ARGV[7], author, message, edited, purpose}))
  end
  redis.call('EXPIRE', KEYS[3], ARGV[11])
end
-- Also a redelivery, under another policy or to another partner, does not answer it.
local function pass_over(id, author, at, edited)
  local seen = tag .. ':seen:' .. id
  redis.call('HSET', seen, 'thread', thread, 'author', author, 'channel', channel, 'edited', edited)
  redis.call('HSET', seen, 'silent', 1)
  redis.call('EXPIRE', seen, ARGV[9])
  set_mark(tag, thread, at)
end
local function accept_early()
  local later = {}
  local early = has_more and redis.call('HGETALL', KEYS[3]) or {}
  if #early == 0 then return end
  for i = 1, #early, 2 do
    local each = cjson.decode(early[i + 1])
    local is_later = tonumber(each[1]) > sent_at and not is_stopped(each[2], tonumber(each[1]))
    if is_later then later[#later + 1] = {early[i], each} end
  end
  table.sort(later, function(a, b) return tonumber(a[2][1]) < tonumber(b[2][1]) end)
  for _, entry in ipairs(later) do
    local id, at, author, message = entry[1], unpack(entry[2])
    local edited, purpose = entry[2][4] or '-1', entry[2][5] or ''
    local was_silent = redis.call('HDEL', tag .. ':seen:' .. id, 'silent') == 1
    if was_silent or redis.call('EXISTS', tag .. ':seen:' .. id) == 0 then
      if is_followed(author, at, purpose) then
        accept(tag, thread, id, author, channel, message, edited, ARGV[9])
      else
        pass_over(id, author, at, edited)
      end
    end
  end
  redis.call('DEL', KEYS[3])
end
local function join()
  redis.call('SET', KEYS[2], '', 'EX', ARGV[10])
  if ARGV[8] == '' then return end
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', sent_at - ARGV[10]) -- the list grows only here
end
-- A message that was passed over is new again when it addresses the bot: after an edit, or in the other event
-- that Slack sends of it.
local function was_passed_over() return addressed and redis.call('HEXISTS', KEYS[1], 'silent') == 1 end
-- A full Redis refuses a script only by its first write, which must therefore store something. The end of the
-- turn renews `joined`.
local function take(edited)
  local found = redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3], stops, asked)
  local is_joined, state = false, nil
  if found > 0 then is_joined, state = unpack(redis.call('MGET', KEYS[2], KEYS[5])) end
  has_more = found > (is_joined and 1 or 0) -- any of the others, which most messages need not read
  local is_known = has_more and redis.call('EXISTS', KEYS[1]) == 1
  if is_known and not was_passed_over() then return 'duplicate' end
  read_partner(state)
  if not addressed and not (is_joined and is_followed(author, ARGV[7], purpose)) then
    wait_early(edited)
    if is_joined then pass_over(id, author, ARGV[7], edited) end
    return 'ignored'
  end
  local answered, gap = read_joined(is_joined)
  if is_alone({0, {'id', id}}) then gap = nil end
  lease = accept(tag, thread, id, author, channel, message, edited, ARGV[9], gap)
  if is_known then redis.call('HDEL', KEYS[1], 'silent') end
  if has_more and is_stopped(author, sent_at) and not is_decision({0, {'id', id}}) then stop_at_once() end
  local is_listed = is_joined and ARGV[16] == '1'
  if ARGV[8] ~= '' and not is_listed then
    redis.call('ZADD', KEYS[4], 'GT', sent_at + ARGV[15], ARGV[8])
  end
  if not is_joined then join() end
  if gap then redis.call('SET', KEYS[2], answered, 'EX', ARGV[10]) end
  local has_partner = addressed and heed(author, ARGV[7], purpose)
  renew_partner(addressed or is_listed, sent_at)
  if has_partner or not is_joined then accept_early() end
  return 'kept'
end
"""
)

# as above, and question ordered_seconds edited_at consumer read... The question, with the time of its newest
# edit, is that of an order to regenerate an answer, else empty; the rest is that of a process that can run a
# turn now, else empty.
# -> kept | duplicate | ignored (the question is not the thread's last one any more, is forgotten, was edited,
# or has another answer by now) | refused (others wait) | removed (the question was deleted; a later deletion
# ends the order) | for a consumer {one of these, nil or the lease with its fields, nil or as START}
# A process that can run a turn leases the thread that has waited for longest, as if it read `ready` next. If
# it is this thread, its turn begins in the same step.
PUT = (
    _TAKE
    + """
local question, consumer, ready = ARGV[17], ARGV[20], tag .. ':ready'
local function lease_next()
  local read = lease and redis.pcall(
    'XREADGROUP', 'GROUP', 'workers', consumer, 'COUNT', 1, 'STREAMS', ready, '>'
  )
  local leased = read and not read.err and read[1][2][1] -- an empty Redis has no group
  if not leased or leased[1] ~= lease then return leased or false, false end
  local waiting = redis.call('XRANGE', tag .. ':mailbox:' .. thread, '-', '+')
  return leased, start(tag, consumer, thread, waiting, ARGV[9], 21)
end
if question == '' then
  local outcome = take('-1')
  return consumer == '' and outcome or {outcome, lease_next()}
end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'duplicate' end
local replaced = string.match(id, '^regenerate:(.*):')
local known = redis.call('HMGET', tag .. ':seen:' .. question, 'withdrawn', 'thread', 'edited', 'answer')
local withdrawn, asked_in, edited, answer = unpack(known)
if withdrawn then return 'removed' end
if not asked_in or read_joined(redis.call('GET', KEYS[2])) ~= question then return 'ignored' end
if tonumber(edited or -1) > tonumber(ARGV[19]) or (answer or replaced) ~= replaced then return 'ignored' end
if redis.call('XLEN', tag .. ':mailbox:' .. thread) > 0 then return 'refused' end
local outcome = take('-1')
redis.call('HSET', KEYS[1], 'corrects', question)
redis.call('SET', tag .. ':ordered:' .. replaced, id, 'EX', ARGV[18])
return outcome
"""
)

# as above, and KEYS messages | ARGV edited_at correction_id correction is_recent
# -> replaced | kept | corrected | duplicate | ignored
# An edit of an unknown message counts as that message. An edit after a deletion is late and ignored.
CORRECT = (
    _TAKE
    + """
local edited, again = ARGV[17], ARGV[18]
if redis.call('HEXISTS', KEYS[1], 'withdrawn') == 1 then return 'ignored' end
if redis.call('EXISTS', KEYS[1]) == 0 or was_passed_over() then
  return ARGV[20] == '1' and take(edited) or 'ignored'
end
if tonumber(redis.call('HGET', KEYS[1], 'edited') or '-1') >= tonumber(edited) then return 'duplicate' end
redis.call('HSET', KEYS[1], 'edited', edited)
local waits = redis.call('HEXISTS', KEYS[6], id) == 1
if waits and not redis.call('HGET', KEYS[1], 'turn') then
  redis.call('HSET', KEYS[6], id, message)
  return 'replaced'
end
if not waits and read_joined(redis.call('GET', KEYS[2])) ~= id then return 'ignored' end
accept(tag, thread, again, author, channel, ARGV[19], '-1', ARGV[9])
redis.call('HSET', tag .. ':seen:' .. again, 'corrects', id)
return 'corrected'
"""
)

# KEYS seen | ARGV tag id whole_turn unknown_seconds reason by overrules -> ignored | refused | removed |
# stopped Corrections of the message go with it, and so do orders to answer it again, which can also be named
# themselves. A deletion that arrives before its message is remembered, so that it is not accepted later.
# Other authors may still wait for the turn, unless the whole turn must end. Permissions of `by`: an author of
# the turn can end it, the author of the message can remove it, and a user who overrules others can do both.
WITHDRAW = (
    STOP_TURN
    + GAP
    + """
local tag, id, whole_turn, by = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[6]
local thread, author = unpack(redis.call('HMGET', KEYS[1], 'thread', 'author'))
local is_theirs = not whole_turn or ARGV[7] == '1' or author == by
if not whole_turn then
  redis.call('HSET', KEYS[1], 'withdrawn', 1)
  redis.call('HDEL', KEYS[1], 'silent')
end
if not thread then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  return 'ignored'
end
local function is_withdrawn(message)
  return redis.call('HEXISTS', tag .. ':seen:' .. message, 'withdrawn') == 1
end
local mailbox = tag .. ':mailbox:' .. thread
local removed, stopped, wanted, found, asked = false, false, false, false, {}
for _, entry in ipairs(redis.call('XRANGE', mailbox, '-', '+')) do
  local each = entry[2][2]
  local known = redis.call('HMGET', tag .. ':seen:' .. each, 'corrects', 'turn', 'author')
  local corrects, turn, asker = unpack(known)
  local original = corrects or each
  local is_named = original == id or each == id
  found = found or is_named
  if turn then
    if asker == by then asked[turn] = true end
    if is_named then stopped = turn end
    if not is_withdrawn(original) and not is_withdrawn(each) then wanted = true end
  elseif is_named and is_theirs then
    remove_entry(tag, thread, entry)
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

# KEYS mailbox messages stops | ARGV tag thread reason at by overrules seen_seconds early_seconds
# -> idle | refused | removed | stopped
# Permissions of `by`: an author of the running turn can end it, and so can a user who overrules others.
# Messages that wait after it are removed silently, except decisions; without `overrules` only the user's own
# ones. A stop may arrive late, by catch-up: messages sent after it stay (`at` is the time of the stop, 0:
# now). It may also arrive early, and is remembered for the messages that were sent before it.
STOP = (
    FIX
    + STOP_TURN
    + GAP
    + """
local tag, thread, at, by, overrules = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6] == '1'
local function is_meant(entry)
  local is_readable, message = pcall(cjson.decode, redis.call('HGET', KEYS[2], entry[2][2]) or '')
  return at == 0 or not is_readable or message.sent_at <= at
end
local function is_theirs(entry)
  return overrules or redis.call('HGET', tag .. ':seen:' .. entry[2][2], 'author') == by
end
if at > 0 then
  local who = overrules and '*' or by
  local latest = tonumber(redis.call('HGET', KEYS[3], who) or 0)
  if at > latest then redis.call('HSET', KEYS[3], who, ARGV[4]) end
  redis.call('EXPIRE', KEYS[3], ARGV[8])
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
    if not is_meant(entry) or not is_theirs(entry) or (i > 1 and is_alone(entry)) then break end
    first[i] = entry
  end
  last, may_end = fix(tag, thread, first, ARGV[7]), true
  redis.call('HSET', tag .. ':turn:' .. turn, 'last', last)
end
local behind, removed = not last, false
for _, entry in ipairs(waiting) do
  if behind and is_meant(entry) and is_theirs(entry) and not is_decision(entry) then
    remove_entry(tag, thread, entry)
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

# KEYS seen | ARGV turn thread seen_seconds -> 1 the turn stands for the decision | 0 another one came first
# An answer in words is a message: its turn takes the place of the decision, as if it were a message of it.
CLAIM = """
local turn = redis.call('HGET', KEYS[1], 'turn')
if turn then return turn == ARGV[1] and 1 or 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'turn', ARGV[1], 'thread', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
