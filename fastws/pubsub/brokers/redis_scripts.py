"""What runs inside Redis, and which keys there are.

Of a topic, whose name is ``N``, there are under ``fastws:{N}:``

- ``h``, a hash: ``e`` the epoch, ``n`` the last offset, ``s`` the server that has written last, ``d`` and
  ``i`` the digest of the settings and these as JSON, ``c`` the offset of the last clear, ``k`` how many keys
  there are, ``x`` when the stream expires, and ``w:SENDER`` the last number of a sender, its offset and when
  that was,
- ``s``, a stream: each item under the ID ``OFFSET-0``; of a message ``t`` (milliseconds) and ``m`` (body), of
  a change ``v`` (verb), ``t`` and ``k`` (key),
- ``k``, a hash: of each key ``OFFSET:MILLISECONDS:VALUE``,
- ``u``, a hash: which nodes use it, ``DIGEST:MILLISECONDS``,
- ``o:ID``, a position, for 300 s: the message with that id.

Channels are ``fastws:{N}:p`` for what plain topics publish and ``fastws:{N}:q`` for what was appended, with
the number of the database behind that where it is not 0: Redis has the same channels for all of them. The
second one tells the epoch, the first offset and how many items, with spaces between and a line end behind;
then of each item ``<BHI``: the verb, the sizes of key and body, and both.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

__all__ = [
    "APPEND_HISTORY",
    "APPEND_KEYED",
    "CHECK",
    "DECLARE",
    "READ",
    "SCRIPTS",
    "Script",
    "keys_of",
    "plain_channel",
    "topic_channel",
]


class Script:
    """One script, which Redis knows by its digest once it has seen it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=256)
def keys_of(name: str, *more: str) -> tuple[str, ...]:
    """Return the keys of a topic, as the scripts take them."""
    return tuple(f"fastws:{{{name}}}:{each}" for each in ("h", "s", "k", "u", *more))


@lru_cache(maxsize=256)
def plain_channel(name: str, database: int = 0) -> str:
    """Return the channel of a plain topic."""
    return f"fastws:{{{name}}}:p{database or ''}"


@lru_cache(maxsize=256)
def topic_channel(name: str, database: int = 0) -> str:
    """Return the channel of what is appended to a topic."""
    return f"fastws:{{{name}}}:q{database or ''}"


#: KEYS as above. ARGV: 1 how an epoch begins, if one is needed; 2 the server; 3 whether a server of another
#: name has the same data for sure ("1": this one was only started again, and has everything on its disk);
#: 4 the command that publishes.
LIFE = """
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function begin()
  local t = redis.call('TIME')
  local epoch = ARGV[1] .. string.format('.%x%05x', t[1], t[2])
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'e', epoch, 'n', 0, 's', ARGV[2], 'c', 0, 'k', 0)
  return epoch, 0, 0
end
local function life(sender)
  local h = redis.call('HMGET', KEYS[1], 'e', 'n', 's', 'k', 'kind', 'd', 'x', sender or '')
  if not h[1] or not h[2] then return begin() end
  if h[3] ~= ARGV[2] then
    if ARGV[3] ~= '1' then return begin() end
    redis.call('HSET', KEYS[1], 's', ARGV[2])
  end
  local count = tonumber(h[4] or 0)
  if (count > 0 or h[5] ~= 'history') and count ~= redis.call('HLEN', KEYS[3]) then return begin() end
  return h[1], tonumber(h[2]), count, h[6], tonumber(h[7] or 0), h[8]
end
"""

#: ARGV: 5 the digest of the settings; 6 they themselves; 7 the kind; 8 this node; 9 "1": it leaves;
#: 10 milliseconds for which others' settings hold; 11 those for which all is known that is not used.
DECLARE = Script(
    LIFE
    + """
local t = now()
if ARGV[9] == '1' then
  redis.call('HDEL', KEYS[4], ARGV[8])
  return {'left'}
end
local users = redis.call('HGETALL', KEYS[4])
for i = 1, #users, 2 do
  local digest, at = string.match(users[i + 1], '^(%w+):(%d+)$')
  if not at or t - tonumber(at) > tonumber(ARGV[10]) then
    redis.call('HDEL', KEYS[4], users[i])
  elseif users[i] ~= ARGV[8] and digest ~= ARGV[5] then
    return {'differ', redis.call('HGET', KEYS[1], 'i') or '{}'}
  end
end
local epoch, last = life()
local before = redis.call('HGET', KEYS[1], 'kind')
if before and before ~= ARGV[7] then epoch, last = begin() end
redis.call('HSET', KEYS[1], 'd', ARGV[5], 'i', ARGV[6], 'kind', ARGV[7])
redis.call('HSET', KEYS[4], ARGV[8], ARGV[5] .. ':' .. t)
for _, key in ipairs({KEYS[1], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[11]) end
if ARGV[7] == 'keyed' then redis.call('PERSIST', KEYS[1]) end
return {'ok', epoch, last}
"""
)

#: KEYS: 5, the id of the message, where it has one. ARGV: 5 the digest of the settings; 6 how many messages
#: or keys; 7 milliseconds that they are kept; 8 the channel; 9 milliseconds that the id is known; 10 the
#: field of the sender, "": it has no name; 11 its number; then the items.
KNOWN = """
if digest and digest ~= ARGV[5] then
  return {'differ', redis.call('HGET', KEYS[1], 'i') or '{}'}
end
if KEYS[5] then
  local known = redis.call('GET', KEYS[5])
  if known and string.sub(known, 1, #epoch + 1) == epoch .. ':' then
    return {'duplicate', epoch, tonumber(string.sub(known, #epoch + 2))}
  end
end
local t = redis.call('TIME')
t = t[1] * 1000 + math.floor(t[2] / 1000)
if known_run then
  if tonumber(ARGV[11]) <= tonumber(string.match(known_run, '^%d+')) then
    return {'duplicate', epoch, tonumber(string.match(known_run, ':(%d+):'))}
  end
elseif ARGV[10] ~= '' and redis.call('HLEN', KEYS[1]) > 100 then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local at = string.sub(all[i], 1, 2) == 'w:' and string.match(all[i + 1], ':(%d+)$')
    if at and t - tonumber(at) > 600000 then redis.call('HDEL', KEYS[1], all[i]) end
  end
end
local first, kept = last + 1, tonumber(ARGV[7])
local function keep_longer()
  local more = kept + math.floor(kept / 8) + 1000
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', more))
  redis.call('HSET', KEYS[1], 'x', string.format('%.0f', t + more))
end
"""

#: Of a history. Each item is as the channel tells it. It is short, and what is seldom needed is not even
#: made: a server that does little finds none of it in its caches, and a command of a script takes 3 µs.
APPEND_HISTORY = Script(
    """
local h = redis.call('HMGET', KEYS[1], 'e', 'n', 's', 'kind', 'd', 'x', ARGV[10])
local epoch, last, digest, kept_until, known_run = h[1], tonumber(h[2]), h[5], tonumber(h[6]), h[7]
if not epoch or not last or h[3] ~= ARGV[2] or h[4] ~= 'history' then
"""
    + LIFE
    + """
  local count
  epoch, last, count, digest, kept_until, known_run = life(ARGV[10])
end
"""
    + KNOWN
    + """
for i = 12, #ARGV do
  last = last + 1
  local id = string.format('%.0f-0', last)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], id, 't', t, 'm', string.sub(ARGV[i], 8))
end
if t + kept > (kept_until or 0) then keep_longer() end
if ARGV[10] == '' then
  redis.call('HSET', KEYS[1], 'n', last)
else
  redis.call('HSET', KEYS[1], 'n', last, ARGV[10], ARGV[11] .. ':' .. last .. ':' .. t)
end
if KEYS[5] then redis.call('SET', KEYS[5], epoch .. ':' .. last, 'PX', ARGV[9]) end
local head = epoch .. ' ' .. first .. ' ' .. (#ARGV - 11) .. '\\n'
redis.call(ARGV[4], ARGV[8], head .. table.concat(ARGV, '', 12))
return {'ok', epoch, last}
"""
)

#: Of a keyed topic. The items are verb, key, body and offset of each.
APPEND_KEYED = Script(
    LIFE
    + """
local epoch, last, count, digest, kept_until, known_run = life(ARGV[10])
"""
    + KNOWN
    + """
local state, parts = 'ok', {}
for i = 12, #ARGV, 4 do
  local verb, key, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local does = true
  local held = verb ~= '3' and redis.call('HGET', KEYS[3], key)
  if verb == '1' then
    if not held then
      does = count < tonumber(ARGV[6])
      if does then count = count + 1 else state = 'full' end
    end
    if does then redis.call('HSET', KEYS[3], key, (last + 1) .. ':' .. t .. ':' .. body) end
  elseif verb == '3' then
    does = count > 0
    if does then
      count, kept_until = 0, 0
      redis.call('DEL', KEYS[3], KEYS[2])
      redis.call('HSET', KEYS[1], 'c', last + 1)
    end
  else
    does = held and (verb == '2' or string.match(held, '^%d+') == ARGV[i + 3])
    if does then
      redis.call('HDEL', KEYS[3], key)
      count = count - 1
      verb, body = '2', ''
    end
  end
  if does then
    last = last + 1
    local id = string.format('%.0f-0', last)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], id, 'v', verb, 't', t, 'k', key)
    parts[#parts + 1] = struct.pack('<BHI', tonumber(verb), #key, #body) .. key .. body
  end
end
if #parts > 0 and t + kept > (kept_until or 0) then keep_longer() end
local state_of = {'n', last, 'k', count}
if ARGV[10] ~= '' then
  state_of[5], state_of[6] = ARGV[10], ARGV[11] .. ':' .. last .. ':' .. t
end
redis.call('HSET', KEYS[1], unpack(state_of))
if KEYS[5] and state == 'ok' then redis.call('SET', KEYS[5], epoch .. ':' .. last, 'PX', ARGV[9]) end
if #parts > 0 then
  redis.call(ARGV[4], ARGV[8], epoch .. ' ' .. first .. ' ' .. #parts .. '\\n' .. table.concat(parts))
end
return {state, epoch, last}
"""
)

#: ARGV: 5 the epoch and 6 the offset behind which everything is asked for; 7 the kind; 8 how many messages; 9
#: their bytes; 10 milliseconds that they are kept.
READ = Script(
    LIFE
    + """
local epoch, last = life()
local start = 0
if ARGV[5] == epoch then start = tonumber(ARGV[6]) end
if start > last then
  epoch, last = begin()
  start = 0
end
local t = now()
if ARGV[7] == 'keyed' then
  local cleared = tonumber(redis.call('HGET', KEYS[1], 'c') or 0)
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  local floor = first and tonumber(string.match(first[1], '^%d+')) - 1 or last
  local changes, values = {}, {}
  if start == 0 or start < cleared or start < floor then
    start, values = 0, redis.call('HGETALL', KEYS[3])
  end
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], string.format('%.0f-0', start + 1), '+')) do
    local verb, key = entry[2][2], entry[2][6]
    if verb == '2' then
      changes[#changes + 1] = {entry[1], verb, entry[2][4], key, ''}
    elseif verb == '1' and start > 0 then
      local held = redis.call('HGET', KEYS[3], key)
      if held then changes[#changes + 1] = {entry[1], verb, entry[2][4], key, held} end
    end
  end
  return {epoch, last, t, start, cleared, floor, values, changes}
end
local found, size, since, expired = {}, 0, last, 0
local to = '+'
while since > start and #found < tonumber(ARGV[8]) do
  local chunk = redis.call('XREVRANGE', KEYS[2], to, '-', 'COUNT', 100)
  for _, entry in ipairs(chunk) do
    local offset = tonumber(string.match(entry[1], '^%d+'))
    if offset ~= since or #found >= tonumber(ARGV[8]) or since <= start then break end
    if t - tonumber(entry[2][2]) >= tonumber(ARGV[10]) then
      expired = offset
      break
    end
    size = size + #entry[2][4]
    if size > tonumber(ARGV[9]) and #found > 0 then break end
    found[#found + 1] = {entry[2][2], entry[2][4]}
    since = offset - 1
  end
  if #chunk < 100 or since > tonumber(string.match(chunk[#chunk][1], '^%d+')) - 1 then break end
  to = string.format('%.0f-0', since)
end
if last > 0 and redis.call('EXISTS', KEYS[2]) == 0 then expired = last end
return {epoch, last, t, since, expired, found}
"""
)

#: Does all that the others do, and leaves nothing. KEYS: one that nobody uses. ARGV: a channel.
CHECK = Script("""
local key = KEYS[1]
redis.call('TIME')
redis.call('DEL', key)
for _, command in ipairs({
  {'HSET', key, 'a', '1'}, {'HGET', key, 'a'}, {'HMGET', key, 'a'}, {'HGETALL', key}, {'HLEN', key},
  {'PEXPIRE', key, '1000'}, {'PERSIST', key}, {'EXISTS', key}, {'HDEL', key, 'a'},
  {'XADD', key, 'MAXLEN', '~', '1', '1-0', 'a', '1'}, {'XRANGE', key, '-', '+', 'COUNT', '1'},
  {'XREVRANGE', key, '+', '-', 'COUNT', '1'}, {'DEL', key},
  {'SET', key, '', 'PX', '1000'}, {'GET', key}, {'DEL', key}, {'PUBLISH', ARGV[1], ''}
}) do redis.call(unpack(command)) end
return 'ok'
""")

SCRIPTS = (DECLARE, APPEND_HISTORY, APPEND_KEYED, READ, CHECK)
