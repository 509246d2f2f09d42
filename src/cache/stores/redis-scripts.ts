import { createHash } from 'node:crypto';
import type { Script } from '../../redis/run-script.ts';
import { abandonedWriteMs, entryOverheadBytes, wordBytes } from './store.ts';

/*
 * The Redis store's operations, one script each, so that each is atomic.
 *
 * Keys, all in one hash slot of a cluster:
 *   epoch   a random word; an instance that saw Redis fail deletes it. Entries with another word are not valid.
 *   words   a hash of what writes have left, and of nothing else: `base` (a random word, new whenever the hash is), for each written
 *           scope, by a hash of its name, `any` (a word that is new with every write in it) and `all` (new with every write to all of
 *           it), `item` for each written item, and `writes` (each write in progress: "id|scope|time of abandonment"). What was never
 *           written has no word. It is bounded: the write that exceeds the bound starts it afresh, and so does whoever finds it
 *           gone or evicted. Then nothing older matches the new base.
 *   entry:… "epoch.base.all.item." and the value; valid only under these words.
 *   index   a sorted set of "size|entry key" by last use, and of "#" by minus the sum of the sizes. One key, so that
 *           Redis's own eviction removes all of it or nothing; entries left behind return to it when they are used,
 *           and members without an entry are dropped when eviction reaches them.
 */
const day = 24 * 60 * 60 * 1000;
/** Every key has a lifetime, so an unused cache frees its memory, in milliseconds. */
const stateTtlMs = 30 * day;
/** Entries per script: no script may block Redis for longer than a lookup waits. */
export const pageEntries = 200;

const prelude = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function memberOf(key, length)
  return (length + #key + ${entryOverheadBytes}) .. '|' .. key
end
local function lengthOf(key)
  local length = redis.pcall('STRLEN', key)
  return type(length) == 'number' and length or 0
end
local function sizeOf(member)
  return tonumber(string.match(member, '^%d+'))
end
local function writesBesides(words, id)
  local writes = {}
  for write, scope, giveUpAt in string.gmatch(redis.call('HGET', words, 'writes') or '', '([^| ]+)|([^| ]+)|(%d+)') do
    if write ~= id and now() < tonumber(giveUpAt) then writes[#writes + 1] = write .. '|' .. scope .. '|' .. giveUpAt end
  end
  return writes
end
local function wordsBytes(words)
  local count = redis.pcall('HLEN', words)
  return type(count) == 'number' and math.max(count - 1, 0) * ${wordBytes} or 0
end
`;

/** ARGV of both scripts of a write: nonce id maxWords scope any all item…; no item: all. */
const supersede = `
local function supersede(words)
  local nonce, maxWords, any, all = ARGV[1], tonumber(ARGV[3]), ARGV[5], ARGV[6]
  local reply = redis.pcall('HSET', words, any, nonce)
  if type(reply) == 'table' and reply.err then
    -- Redis is full: forgetting needs no memory, and without words nothing matches.
    redis.call('DEL', words)
    return
  end
  redis.call('HSETNX', words, 'base', nonce)
  if #ARGV == 6 then redis.call('HSET', words, all, nonce) end
  for i = 7, #ARGV do redis.call('HSET', words, ARGV[i], nonce) end
  if redis.call('HLEN', words) > maxWords then
    local writes = redis.call('HGET', words, 'writes')
    redis.call('DEL', words)
    redis.call('HSET', words, 'base', nonce)
    if writes then redis.call('HSET', words, 'writes', writes) end
  end
  redis.call('PEXPIRE', words, ${stateTtlMs})
end
`;

/** What a lookup returns in place of a value that begins with the hash of what the instance holds. */
export const stillSo = -1;

/**
 * KEYS epoch words entry index; ARGV nonce any all item maxBytes held notesUse: the hash of what the instance holds, or
 * '', and 1 or 0. Returns the ticket; the value, its size if it is larger, `stillSo`, or nil; and the nonce, so that no
 * answer is taken for that of another lookup.
 */
export const lookupScript = script(`${prelude}
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch, 'PX', ${stateTtlMs})
end
local words = redis.pcall('HMGET', KEYS[2], 'base', ARGV[2], ARGV[3], ARGV[4])
-- Somebody else's key of another type again.
if words.err then
  redis.call('DEL', KEYS[2])
  words = { false, false, false, false }
end
local base = words[1]
if not base then
  base = ARGV[1]
  redis.call('HSET', KEYS[2], 'base', base)
  redis.call('PEXPIRE', KEYS[2], ${stateTtlMs})
end
-- A Redis that refuses to write is a replica, and may be behind. There is no such field: nothing changes.
redis.call('HDEL', KEYS[2], '')
local stamp = epoch .. '.' .. base .. '.' .. (words[3] or '') .. '.' .. (words[4] or '') .. '.'
local ticket = stamp .. (words[2] or '')
local function noteUse(length)
  if ARGV[7] ~= '1' then return end
  local member = memberOf(KEYS[3], length)
  -- A full Redis cannot always note the use, which does no harm.
  if redis.pcall('ZADD', KEYS[4], now(), member) == 1 then
    redis.call('ZINCRBY', KEYS[4], -sizeOf(member), '#')
    redis.call('PEXPIRE', KEYS[4], ${stateTtlMs})
  end
end
local held = ARGV[6]
if held ~= '' and redis.pcall('GETRANGE', KEYS[3], 0, #stamp + #held - 1) == stamp .. held then
  noteUse(lengthOf(KEYS[3]))
  return { ticket, ${stillSo}, ARGV[1] }
end
-- Somebody else's key of another type is none of ours: a miss, and a fill replaces it.
local value = redis.pcall('GET', KEYS[3])
if type(value) == 'table' then value = false end
if not value or string.sub(value, 1, #stamp) ~= stamp then return { ticket, false, ARGV[1] } end
noteUse(#value)
if #value - #stamp > tonumber(ARGV[5]) then return { ticket, #value - #stamp, ARGV[1] } end
return { ticket, string.sub(value, #stamp + 1), ARGV[1] }
`);

/**
 * KEYS epoch words entry index; ARGV ticket value ttlMs maxBytes scope any all item. Returns whether it was stored, and
 * how many entries were evicted.
 */
export const fillScript = script(`${prelude}
local epoch = redis.call('GET', KEYS[1])
local scope = redis.call('HMGET', KEYS[2], ARGV[6], 'base', ARGV[7], ARGV[8])
if not (epoch and scope[2]) then return { 0, 0 } end
scope[1] = scope[1] or ''
local stamp = epoch .. '.' .. scope[2] .. '.' .. (scope[3] or '') .. '.' .. (scope[4] or '') .. '.'
if stamp .. scope[1] ~= ARGV[1] then return { 0, 0 } end
for _, write in ipairs(writesBesides(KEYS[2], '')) do
  if string.find(write, '|' .. ARGV[5] .. '|', 1, true) then return { 0, 0 } end
end
local value = stamp .. ARGV[2]
local member = memberOf(KEYS[3], #value)
local maxBytes = tonumber(ARGV[4])
if sizeOf(member) > maxBytes then return { 0, 0 } end
local before = lengthOf(KEYS[3])
if before > 0 then
  local old = memberOf(KEYS[3], before)
  if redis.call('ZREM', KEYS[4], old) == 1 then redis.call('ZINCRBY', KEYS[4], sizeOf(old), '#') end
end
redis.call('SET', KEYS[3], value, 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ${stateTtlMs})
if redis.call('ZADD', KEYS[4], now(), member) == 1 then redis.call('ZINCRBY', KEYS[4], -sizeOf(member), '#') end
redis.call('PEXPIRE', KEYS[4], ${stateTtlMs})
local bytes = -tonumber(redis.call('ZSCORE', KEYS[4], '#'))
maxBytes = maxBytes - wordsBytes(KEYS[2])
local evicted = 0
while bytes > maxBytes do
  local oldest = redis.call('ZRANGE', KEYS[4], 1, 1)[1]
  if not oldest then
    bytes = 0
    break
  end
  local key = string.match(oldest, '^%d+|(.*)$')
  redis.call('ZREM', KEYS[4], oldest)
  if oldest == memberOf(key, lengthOf(key)) then
    redis.call('DEL', key)
    evicted = evicted + 1
  end
  bytes = bytes - sizeOf(oldest)
end
redis.call('ZADD', KEYS[4], -bytes, '#')
return { 1, evicted }
`);

/** KEYS words; ARGV as for `supersede`. */
export const beginWriteScript = script(`${prelude}${supersede}
supersede(KEYS[1])
local writes = writesBesides(KEYS[1], ARGV[2])
writes[#writes + 1] = ARGV[2] .. '|' .. ARGV[4] .. '|' .. string.format('%.0f', now() + ${abandonedWriteMs * 1000})
redis.pcall('HSET', KEYS[1], 'writes', table.concat(writes, ' '))
redis.call('PEXPIRE', KEYS[1], ${stateTtlMs})
return 1
`);

/** KEYS words; ARGV as for `supersede`. */
export const endWriteScript = script(`${prelude}${supersede}
supersede(KEYS[1])
local writes = writesBesides(KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[1], 'writes')
if #writes > 0 then redis.pcall('HSET', KEYS[1], 'writes', table.concat(writes, ' ')) end
return 1
`);

/**
 * KEYS epoch index; ARGV nonce. Ends the epoch, and deletes an index of another type. Returns the nonce and 1, which
 * nothing else returns by chance.
 */
export const returnScript = script(`
redis.call('DEL', KEYS[1])
local total = redis.pcall('ZSCORE', KEYS[2], '#')
if type(total) == 'table' and total.err then redis.call('DEL', KEYS[2]) end
return { ARGV[1], 1 }
`);

/**
 * KEYS index words; ARGV cursor. Reads one page: returns the next cursor ("0" at the end), entries and bytes, and the
 * bytes of the words. Changes nothing.
 */
export const statsScript = script(`${prelude}
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ${pageEntries})
local count = 0
local bytes = 0
for i = 1, #page[2], 2 do
  local member = page[2][i]
  local key = string.match(member, '^%d+|(.*)$')
  if key and member == memberOf(key, lengthOf(key)) then
    count = count + 1
    bytes = bytes + sizeOf(member)
  end
end
return { page[1], count, bytes, wordsBytes(KEYS[2]) }
`);

/** KEYS index. Deletes one page of entries; returns how many are left. */
export const flushScript = script(`${prelude}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 1, ${pageEntries})) do
  redis.call('DEL', (string.match(member, '^%d+|(.*)$')))
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZINCRBY', KEYS[1], sizeOf(member), '#')
end
local left = math.max(redis.call('ZCARD', KEYS[1]) - 1, 0)
if left == 0 then redis.call('DEL', KEYS[1]) end
return left
`);

/** KEYS words. Deletes all words but writes in progress: nothing older matches. */
export const forgetWordsScript = script(`
local writes = redis.pcall('HGET', KEYS[1], 'writes')
redis.call('DEL', KEYS[1])
if type(writes) == 'string' then
  redis.call('HSET', KEYS[1], 'writes', writes)
  redis.call('PEXPIRE', KEYS[1], ${stateTtlMs})
end
return 1
`);

function script(text: string): Script {
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}
