"""Scripts that put messages back: dead letters that are replayed, or messages that Redis has lost."""

from bot.inbox.scripts.common import ACCEPT

# KEYS dead | ARGV tag entry seen_seconds author message channel -> 0 there is no such entry | 1 The turn is
# new: the failures and the receipt of the old one would end it again. The time of the last edit stays, so
# that a late edit is still recognised. It follows a gap: perhaps the agent was not given what came before it.
REPLAY = (
    ACCEPT
    + """
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #entry == 0 then return 0 end
local dead = {}
for i = 1, #entry[1][2], 2 do dead[entry[1][2][i]] = entry[1][2][i + 1] end
local seen = ARGV[1] .. ':seen:' .. dead.id
redis.call('DEL', ARGV[1] .. ':turn:' .. dead.id)
redis.call('HDEL', seen, 'turn', 'withdrawn')
local edited = redis.call('HGET', seen, 'edited') or '-1'
accept(ARGV[1], dead.thread, dead.id, ARGV[4], ARGV[6], ARGV[5], edited, ARGV[3], 0)
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
"""
)

# KEYS seen turn | ARGV tag thread id author message seen_seconds receipt corrects channel
# -> 0 it is known | 1
# After Redis came back without its data: a process restores a message and the receipt of its reply.
RESTORE = (
    ACCEPT
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
accept(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[9], ARGV[5], '-1', ARGV[6])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'corrects', ARGV[8]) end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[2], 'receipt', ARGV[7]) end
return 1
"""
)
