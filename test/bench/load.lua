-- What wrk sends, and what wrk.mjs needs to know of a run, as one line of JSON.
--   without arguments   the request of wrk's command line
--   flood BEGINNING     each request with another wrong password; BEGINNING is base64 of "NAME:", without padding
--   rotate FILE         in turns the requests of FILE, each two lines: a path, and the value of Authorization

local alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
local threads = 0

function setup(thread)
  thread:set('number', threads)
  threads = threads + 1
end

function init(args)
  if args[1] == 'flood' then
    math.randomseed(os.time() + number)
    request = function()
      local password = {}
      for i = 1, 16 do
        local at = math.random(64)
        password[i] = alphabet:sub(at, at)
      end
      wrk.headers['Authorization'] = 'Basic ' .. args[2] .. table.concat(password)
      return wrk.format()
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

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"bytes":%d,"failed":%d,"refused":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status
  ))
end
