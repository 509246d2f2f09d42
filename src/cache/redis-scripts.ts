import { createHash } from 'node:crypto';
import { abandonedWriteMs, entryOverheadBytes, maxItemsPerScope } from './store.ts';

/**
 * The Redis store's operations, each one script, so that each happens at one instant.
 *
 * Keys, all in one hash slot of a cluster:
 *   epoch   a random word; deleted by whoever saw Redis fail. What was stored under another word is not believed.
 *   scope:… a hash: `generation` (a random word, new with every write), `base` and `item:…` (random words, the
 *           version of an item, new with every write to it), `write` (the id of a write under way and when it is given up).
 *   entry:… "epoch.version." and the value; believed only under this epoch and version.
 *   index   a sorted set of "size|entry key" by last use, and of "#" by minus the sum of the sizes. One key, so that
 *           Redis's own eviction takes all of the accounting or nothing; entries left behind are taken in again
 *           when they are used, and members whose entry has gone are dropped when their turn comes.
 */
export type Script = { readonly text: string; readonly sha1: string };

const day = 24 * 60 * 60 * 1000;
/** Every key has a lifetime: what the state of the cache costs is given back when nobody uses it, in milliseconds. */
const stateTtlMs = 30 * day;
const scopeTtlMs = 60 * 60 * 1000;

const prelude = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function memberOf(key, length)
  return (length + #key + ${entryOverheadBytes}) .. '|' .. key
end
local function sizeOf(member)
  return tonumber(string.match(member, '^%d+'))
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
    local write = redis.call('HGET', scope, 'write')
    redis.call('DEL', scope)
    redis.call('HSET', scope, 'generation', nonce, 'base', nonce)
    if write then redis.call('HSET', scope, 'write', write) end
  else
    redis.call('HSETNX', scope, 'base', nonce)
    for _, item in ipairs(items) do redis.call('HSET', scope, 'item:' .. item, nonce) end
  end
  redis.call('PEXPIRE', scope, ${scopeTtlMs})
end
local items = {}
for i = 3, #ARGV do items[#items + 1] = ARGV[i] end
`;

/** KEYS epoch scope entry index; ARGV nonce item. Gives the ticket, and the value or nil. */
export const lookupScript = script(`${prelude}
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch, 'PX', ${stateTtlMs})
end
local scope = redis.call('HMGET', KEYS[2], 'generation', 'base', 'item:' .. ARGV[2])
if not (scope[1] and scope[2]) then
  redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'base', ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ${scopeTtlMs})
  scope = { ARGV[1], ARGV[1], scope[3] }
end
local stamp = epoch .. '.' .. (scope[3] or scope[2]) .. '.'
local ticket = stamp .. scope[1]
local value = redis.call('GET', KEYS[3])
if not value or string.sub(value, 1, #stamp) ~= stamp then return { ticket, false } end
local member = memberOf(KEYS[3], #value)
local added = redis.pcall('ZADD', KEYS[4], now(), member)
-- A full Redis cannot note the use, which does no harm; one that refuses writes otherwise is a replica, and behind.
if type(added) == 'table' and added.err and not string.find(added.err, 'OOM', 1, true) then return added end
if added == 1 then
  redis.call('ZINCRBY', KEYS[4], -sizeOf(member), '#')
  redis.call('PEXPIRE', KEYS[4], ${stateTtlMs})
end
return { ticket, string.sub(value, #stamp + 1) }
`);

/** KEYS epoch scope entry index; ARGV ticket item value ttlMs maxBytes. Gives whether it was stored, and how many were evicted. */
export const fillScript = script(`${prelude}
local epoch = redis.call('GET', KEYS[1])
local scope = redis.call('HMGET', KEYS[2], 'generation', 'base', 'item:' .. ARGV[2], 'write')
if not (epoch and scope[1] and scope[2]) then return { 0, 0 } end
local stamp = epoch .. '.' .. (scope[3] or scope[2]) .. '.'
if stamp .. scope[1] ~= ARGV[1] then return { 0, 0 } end
if scope[4] and now() < tonumber(string.match(scope[4], '%d+$')) then return { 0, 0 } end
local value = stamp .. ARGV[3]
local member = memberOf(KEYS[3], #value)
local maxBytes = tonumber(ARGV[5])
if sizeOf(member) > maxBytes then return { 0, 0 } end
local before = redis.call('STRLEN', KEYS[3])
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
  if oldest == memberOf(key, redis.call('STRLEN', key)) then
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
redis.pcall('HSET', KEYS[1], 'write', ARGV[2] .. '|' .. string.format('%.0f', now() + ${abandonedWriteMs * 1000}))
redis.call('PEXPIRE', KEYS[1], ${scopeTtlMs})
return 1
`);

/** KEYS scope; ARGV nonce id item…; no item: all. */
export const endWriteScript = script(`${prelude}${supersede}
supersede(KEYS[1], ARGV[1], items)
local write = redis.call('HGET', KEYS[1], 'write')
if write and string.match(write, '^[^|]*') == ARGV[2] then redis.call('HDEL', KEYS[1], 'write') end
return 1
`);

/** KEYS index. Drops members whose entry has gone; gives entries and bytes. */
export const statsScript = script(`${prelude}
local bytes = 0
local count = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 1, -1)) do
  local key = string.match(member, '^%d+|(.*)$')
  if redis.call('EXISTS', key) == 1 then
    bytes = bytes + sizeOf(member)
    count = count + 1
  else
    redis.call('ZREM', KEYS[1], member)
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('ZADD', KEYS[1], -bytes, '#') end
return { count, bytes }
`);

/** KEYS epoch index. */
export const flushScript = script(`
redis.call('DEL', KEYS[1])
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 1, -1)) do
  redis.call('DEL', (string.match(member, '^%d+|(.*)$')))
end
redis.call('DEL', KEYS[2])
return 1
`);

function script(text: string): Script {
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}
