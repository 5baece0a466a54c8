-- The account's limits as one state machine. This file is the head of every script in this folder, but read.lua;
-- after it come outages.lua and limiter.lua.
--
-- ARGV[2]  the limiter's configuration, JSON; `now_ms` in it takes the place of Redis' clock, for tests
-- The keys and their fields are in replibatch/redisdb/keys.py.
--
-- An attempt is its key here, `generation:number`; an orphaned prediction is `prediction:<id>`. Times are Redis'
-- own, in whole milliseconds. A repeated call changes nothing twice.

local SLOTS, GRANTED, CREATING = key('slots'), key('granted'), key('creating')
local WINDOW, WAITERS, TICKETS = key('window'), key('waiters'), key('tickets')
local LIMITS, PROCESSES, SPEND = key('limits'), key('processes'), key('spend')
local config = cjson.decode(ARGV[2])

local FIELDS = { 'clock', 'max_concurrent', 'per_window', 'budget', 'posts', 'refused', 'arrivals', 'cooldown_until',
  'ramp', 'ceiling', 'ceiling_until', 'testing', 'learned', 'spaced', 'paced_until', 'good', 'probe_after', 'since_throttled', 'streak', 'stopped', 'stop_message',
  'total', 'peak', 'throttled', 'last_created', 'outages_so_far', 'waited_at', 'epoch', 'suspect', 'suspect_since', 'restored', 'restored_refused' }
local state, dirty = {}, {}
do
  local values = redis.call('HMGET', LIMITS, unpack(FIELDS))
  for i, field in ipairs(FIELDS) do
    local value = values[i]
    state[field] = value and (tonumber(value) or value) or nil
  end
end

local function set(field, value)
  state[field] = value
  dirty[field] = true
end

local function number(field) return state[field] or 0 end

-- A clock that stepped back is stood still through: nothing granted for a later time is forgotten early.
local now
local clock_before = number('clock')
do
  now = config.now_ms or server_ms()
  if now > number('clock') then set('clock', now) else now = number('clock') end
end

-- The state is trusted as long as it is there and the same server process keeps it. Lost (a flush, a restart without
-- data), or another's (a restart, a failover to an older copy), it grants nothing until it is rebuilt: report.lua.
local function server()
  local info = redis.pcall('INFO', 'server')
  return 'run ' .. (type(info) == 'string' and string.match(info, 'run_id:(%x+)') or '')
end
local epoch = server()
local function is_trusted() return state.epoch == epoch end

local function suspect()
  if is_trusted() or state.suspect == epoch then return end
  set('suspect', epoch)
  set('suspect_since', now)
  set('restored', clock_before)
  redis.call('PUBLISH', key('wake'), 'report')
end

local function max_concurrent() return state.max_concurrent or config.max_concurrent end
local function per_window()
  local limit = state.per_window or config.per_window
  return state.learned and math.min(limit, state.learned) or limit
end

local function forget_what_was_learned()
  for _, field in ipairs({ 'ceiling', 'ceiling_until', 'testing', 'learned', 'spaced', 'paced_until', 'good', 'probe_after',
    'since_throttled' }) do
    set(field, nil)
  end
end

local function save()
  local changes = {}
  for field in pairs(dirty) do
    local value = state[field]
    if value == nil then
      redis.call('HDEL', LIMITS, field)
    else
      changes[#changes + 1] = field
      changes[#changes + 1] = type(value) == 'number' and whole(value) or value
    end
  end
  if #changes > 0 then redis.call('HSET', LIMITS, unpack(changes)) end
  dirty = {}
end
