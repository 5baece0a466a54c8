-- A process says that it lives and which limits it was explicitly given; stale processes lapse.
-- KEYS[10] reports  hash  process -> JSON of what it says of itself
-- KEYS[11] stored   hash  limits set by an operator: max_concurrent, per_window, budget (micro-dollars)
-- call: process, report (JSON text; may hold max_concurrent, per_window, budget), leaving (bool)
-- Returns {whether the process was alive to the others until now (1 or 0), whether it must report (1 or 0: the state is
-- not trusted), its unclaimed hand-offs, ms until asking again is of use or -1, the keepsake: what to hand back with a
-- report should the state be lost, the concurrency limit in force}.

local REPORTS, STORED = KEYS[10], KEYS[11]
local known = is_alive(call.process) and 1 or 0
if call.leaving then
  redis.call('ZREM', PROCESSES, call.process)
  redis.call('HDEL', REPORTS, call.process)
else
  redis.call('ZADD', PROCESSES, whole(now), call.process)
  redis.call('HSET', REPORTS, call.process, call.report)
end

redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', whole(now - 86400000))

-- The limits in force: the operator's; else the lowest any live process was given; else the default.
local stored = redis.call('HMGET', STORED, 'max_concurrent', 'per_window', 'budget')
local lowest = {}
local reports = redis.call('HGETALL', REPORTS)
for i = 1, #reports, 2 do
  local process, report = reports[i], reports[i + 1]
  if is_alive(process) then
    for name, value in pairs(cjson.decode(report)) do
      if type(value) == 'number' and (not lowest[name] or value < lowest[name]) then lowest[name] = value end
    end
  elseif not redis.call('ZSCORE', PROCESSES, process) then
    redis.call('HDEL', REPORTS, process)
  end
end
for i, name in ipairs({ 'max_concurrent', 'per_window', 'budget' }) do
  local value = tonumber(stored[i]) or lowest[name]
  if state[name] ~= value then set(name, value) end
end

local unclaimed = {}
for _, attempt in ipairs(redis.call('ZRANGE', GRANTED, 0, -1)) do
  local ticket = ticket_of(attempt)
  if ticket.process == call.process then unclaimed[#unclaimed + 1] = attempt end
end
local again = pump()
local keepsake = cjson.encode({
  clock = now,
  limits = redis.call('HGETALL', LIMITS),
  stored = redis.call('HGETALL', STORED),
  spend = redis.call('HGETALL', SPEND),
})
return { known, is_trusted() and 0 or 1, unclaimed, again, is_trusted() and keepsake or '', max_concurrent() }
