import { createHash } from 'node:crypto';
import { abandonedWriteMs, entryOverheadBytes, maxItemsPerScope } from './store.ts';

/**
 * The Redis store's operations, each one script, so that each happens at one instant.
 *
 * Keys, all in one hash slot of a cluster:
 *   epoch   a random word; deleted by whoever saw Redis fail. What was stored under another word is not believed.
 *   scope:… a hash: `generation` (a random word, new with every write), `base` and `item:…` (random words, the
 *           version of an item, new with every write to it), `writes` (each write under way: "id|when it is given up").
 *   entry:… "epoch.version." and the value; believed only under this epoch and version.
 *   index   a sorted set of "size|entry key" by last use, and of "#" by minus the sum of the sizes. One key, so that
 *           Redis's own eviction takes all of the accounting or nothing; entries left behind are taken in again
 *           when they are used, and members whose entry has gone are dropped when their turn comes.
 */
export type Script = { readonly text: string; readonly sha1: string };

const day = 24 * 60 * 60 * 1000;
/** Every key has a lifetime: what the state of the cache costs is given back when nobody uses it, in milliseconds. */
const stateTtlMs = 30 * day;
const scopeTtlMs = 10 * 60 * 1000;
/** How many entries one script looks at: no script may hold up Redis for longer than a lookup waits. */
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
local function writesBesides(scope, id)
  local writes = {}
  for write, giveUpAt in string.gmatch(redis.call('HGET', scope, 'writes') or '', '([^| ]+)|(%d+)') do
    if write ~= id and now() < tonumber(giveUpAt) then writes[#writes + 1] = write .. '|' .. giveUpAt end
  end
  return writes
end
`;

const supersede = `
local function supersede(scope, nonce, items)
  local reply = redis.pcall('HSET', scope, 'generation', nonce)
  if type(reply) == 'table' and reply.err then
    -- Redis is full: forgetting needs no memory, and a scope without words matches nothing.
    redis.call('DEL', scope)
    return
  end
  if #items == 0 or redis.call('HLEN', scope) > ${maxItemsPerScope} then
    local writes = redis.call('HGET', scope, 'writes')
    redis.call('DEL', scope)
    redis.call('HSET', scope, 'generation', nonce, 'base', nonce)
    if writes then redis.call('HSET', scope, 'writes', writes) end
  else
    redis.call('HSETNX', scope, 'base', nonce)
    for _, item in ipairs(items) do redis.call('HSET', scope, 'item:' .. item, nonce) end
  end
  redis.call('PEXPIRE', scope, ${scopeTtlMs})
end
local items = {}
for i = 3, #ARGV do items[#items + 1] = ARGV[i] end
`;

/** KEYS epoch scope entry index; ARGV nonce item. Gives the ticket, the value or nil, and the nonce: so no answer is taken for that to another question. */
export const lookupScript = script(`${prelude}
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch, 'PX', ${stateTtlMs})
end
local scope = redis.pcall('HMGET', KEYS[2], 'generation', 'base', 'item:' .. ARGV[2])
-- Somebody else's key of another type again.
if scope.err then
  redis.call('DEL', KEYS[2])
  scope = { false, false, false }
end
if not (scope[1] and scope[2]) then
  redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'base', ARGV[1])
  scope = { ARGV[1], ARGV[1], scope[3] }
end
-- Every lookup writes something: a Redis that refuses is a replica, and may be behind.
redis.call('PEXPIRE', KEYS[2], ${scopeTtlMs})
local stamp = epoch .. '.' .. (scope[3] or scope[2]) .. '.'
local ticket = stamp .. scope[1]
-- Somebody else's key of another type is none of ours: a miss, and a fill replaces it.
local value = redis.pcall('GET', KEYS[3])
if type(value) == 'table' then value = false end
if not value or string.sub(value, 1, #stamp) ~= stamp then return { ticket, false, ARGV[1] } end
local member = memberOf(KEYS[3], #value)
-- A full Redis cannot always note the use, which does no harm.
local added = redis.pcall('ZADD', KEYS[4], now(), member)
if added == 1 then
  redis.call('ZINCRBY', KEYS[4], -sizeOf(member), '#')
  redis.call('PEXPIRE', KEYS[4], ${stateTtlMs})
end
return { ticket, string.sub(value, #stamp + 1), ARGV[1] }
`);

/** KEYS epoch scope entry index; ARGV ticket item value ttlMs maxBytes. Gives whether it was stored, and how many were evicted. */
export const fillScript = script(`${prelude}
local epoch = redis.call('GET', KEYS[1])
local scope = redis.call('HMGET', KEYS[2], 'generation', 'base', 'item:' .. ARGV[2])
if not (epoch and scope[1] and scope[2]) then return { 0, 0 } end
local stamp = epoch .. '.' .. (scope[3] or scope[2]) .. '.'
if stamp .. scope[1] ~= ARGV[1] then return { 0, 0 } end
if #writesBesides(KEYS[2], '') > 0 then return { 0, 0 } end
local value = stamp .. ARGV[3]
local member = memberOf(KEYS[3], #value)
local maxBytes = tonumber(ARGV[5])
if sizeOf(member) > maxBytes then return { 0, 0 } end
local before = lengthOf(KEYS[3])
if before > 0 then
  local old = memberOf(KEYS[3], before)
  if redis.call('ZREM', KEYS[4], old) == 1 then redis.call('ZINCRBY', KEYS[4], sizeOf(old), '#') end
end
redis.call('SET', KEYS[3], value, 'PX', ARGV[4])
if redis.call('ZADD', KEYS[4], now(), member) == 1 then redis.call('ZINCRBY', KEYS[4], -sizeOf(member), '#') end
redis.call('PEXPIRE', KEYS[4], ${stateTtlMs})
redis.call('PEXPIRE', KEYS[2], ${scopeTtlMs})
local bytes = -tonumber(redis.call('ZSCORE', KEYS[4], '#'))
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

/** KEYS scope; ARGV nonce id item…; no item: all. */
export const beginWriteScript = script(`${prelude}${supersede}
supersede(KEYS[1], ARGV[1], items)
local writes = writesBesides(KEYS[1], ARGV[2])
writes[#writes + 1] = ARGV[2] .. '|' .. string.format('%.0f', now() + ${abandonedWriteMs * 1000})
redis.pcall('HSET', KEYS[1], 'writes', table.concat(writes, ' '))
redis.call('PEXPIRE', KEYS[1], ${scopeTtlMs})
return 1
`);

/** KEYS scope; ARGV nonce id item…; no item: all. */
export const endWriteScript = script(`${prelude}${supersede}
supersede(KEYS[1], ARGV[1], items)
local writes = writesBesides(KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[1], 'writes')
if #writes > 0 then redis.pcall('HSET', KEYS[1], 'writes', table.concat(writes, ' ')) end
return 1
`);

/** KEYS epoch index; ARGV nonce. Ends the epoch, and drops an index that is none. Gives the nonce and 1, as nobody does by chance. */
export const returnScript = script(`
redis.call('DEL', KEYS[1])
local total = redis.pcall('ZSCORE', KEYS[2], '#')
if type(total) == 'table' and total.err then redis.call('DEL', KEYS[2]) end
return { ARGV[1], 1 }
`);

/** KEYS index; ARGV cursor. One page of what is kept: gives the next cursor ("0" at the end), entries and bytes. Changes nothing. */
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
return { page[1], count, bytes }
`);

/** KEYS index. Deletes one page of entries; gives how many are left. */
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

function script(text: string): Script {
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}
