-- What wrk sends, and what wrk.mjs needs to know of a run, as one line of JSON.
--   without arguments   the request of wrk's command line
--   flood BEGINNING     each request with another wrong password; BEGINNING is base64 of "NAME:", without padding
--   ramp REQUESTS PAUSE the request of wrk's command line; the first REQUESTS of each thread come after PAUSE milliseconds each
--   pace PAUSE          the request of wrk's command line, PAUSE milliseconds after each answer
--   rotate FILE         in turns the requests of FILE, each two lines: a path, and the value of Authorization

local digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

-- Base64 of three random small letters. Of letters: a password with control characters would be refused unhashed.
local function randomLetters()
  local bits = 0
  for _ = 1, 3 do
    bits = bits * 256 + math.random(97, 122)
  end
  local text = ''
  for _ = 1, 4 do
    local digit = bits % 64
    text = digits:sub(digit + 1, digit + 1) .. text
    bits = (bits - digit) / 64
  end
  return text
end

local threads = 0

function setup(thread)
  thread:set('number', threads)
  threads = threads + 1
end

function init(args)
  if args[1] == 'flood' then
    math.randomseed(os.time() + number)
    request = function()
      wrk.headers['Authorization'] = 'Basic ' .. args[2] .. randomLetters() .. randomLetters() .. randomLetters() .. randomLetters()
      return wrk.format()
    end
  elseif args[1] == 'ramp' then
    local left = tonumber(args[2])
    local pause = tonumber(args[3])
    delay = function()
      if left == 0 then
        return 0
      end
      left = left - 1
      return pause
    end
  elseif args[1] == 'pace' then
    local pause = tonumber(args[2])
    delay = function()
      return pause
    end
  elseif args[1] == 'rotate' then
    local requests = {}
    local path
    for line in io.lines(args[2]) do
      if path == nil then
        path = line
      else
        wrk.headers['Authorization'] = line
        requests[#requests + 1] = wrk.format(nil, path)
        path = nil
      end
    end
    -- The threads begin at different places.
    local at = math.floor(#requests / 2) * number
    request = function()
      at = at % #requests + 1
      return requests[at]
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"bytes":%d,"failed":%d,"refused":%d,"p50Us":%d,"p99Us":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99)
  ))
end
