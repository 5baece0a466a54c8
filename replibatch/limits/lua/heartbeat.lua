-- A process says that it lives and which limits it was explicitly given; stale processes lapse.
-- call: process, report (JSON text; may hold max_concurrent, per_window, budget), leaving (bool)
-- Returns {whether the process was alive to the others until now (1 or 0), whether it must report (1 or 0: the state is
-- not trusted), news that it may have missed: hand-offs, and slots claimed for it; ms until asking again is of use
-- or -1, the snapshot: to hand back with a report should the state be lost, the concurrency limit in force, how many
-- predictions of all processes may be in flight, the names of outages and of recent failures}.

local known = is_alive(call.process) and 1 or 0
if call.leaving then
  redis.call('ZREM', PROCESSES, call.process)
else
  redis.call('ZADD', PROCESSES, whole(now), call.process)
  redis.call('HSET', REPORTS, call.process, call.report)
end

redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', whole(now - 86400000))

bring_limits_in_force()

local handed = {}
for _, place in ipairs({ GRANTED, CREATING }) do
  for _, attempt in ipairs(redis.call('ZRANGE', place, 0, -1)) do
    local ticket = ticket_of(attempt)
    if ticket.process == call.process then handed[#handed + 1] = attempt end
  end
end

-- Everybody in the line has waited since the last heartbeat of any process, for what the line waits for now.
local line = redis.call('ZCARD', WAITERS)
local since = math.min(now - (state.waited_at or now), config.lease_ms)
if line > 0 and since > 0 then
  redis.call('HINCRBY', key('waited'), blocked_by(), whole(line * since))
end
set('waited_at', now)

local again = pump()
local snapshot = cjson.encode({
  clock = now,
  limits = redis.call('HGETALL', LIMITS),
  stored = redis.call('HGETALL', STORED),
  spend = redis.call('HGETALL', SPEND),
})
return { known, is_trusted() and 0 or 1, handed, again, is_trusted() and snapshot or '', max_concurrent(),
  redis.call('ZCARD', SLOTS), names_of_outages() }
