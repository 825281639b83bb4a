"""Messages that come back: given up and replayed, or lost by Redis."""

from bot.inbox.scripts.common import ACCEPT

# KEYS dead | ARGV tag entry seen_seconds author message channel -> 0 there is no such entry | 1
# A fresh turn: what the old one knew of failures and of its reply would end it again. What is known of the
# message's edits stays, so that one which comes late is still known to be.
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
accept(ARGV[1], dead.thread, dead.id, ARGV[4], ARGV[6], ARGV[5], edited, ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
"""
)

# KEYS seen turn | ARGV tag thread id author message seen_seconds receipt corrects channel
# -> 0 it is known | 1
# For a Redis that came back without its data: what a process remembers of a message, and of its reply.
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
