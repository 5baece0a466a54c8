-- The head of every script of an account: its keys, its arguments, the time.
--
-- KEYS[1]  the prefix of the account's keys: one argument, as each costs every call. replibatch/redisdb/keys.py lists them
-- ARGV[1]  this call's arguments, JSON

local PREFIX = KEYS[1]
local call = cjson.decode(ARGV[1])

-- The name of a key: the prefix, then the parts with colons between them.
local function key(...) return PREFIX .. table.concat({ ... }, ':') end

-- Redis' own time, in whole milliseconds since 1970.
local function server_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A whole number as text: Lua's own would give a large one an exponent.
local function whole(value) return string.format('%.0f', value) end
