-- Something that attempts need has failed.
-- call: process, attempt ('' for none), fault (as in `report_fault`), id (of this report, the same when the call is repeated)
-- Returns {whether it is out (1 or 0), ms until asking again is of use or -1}.

local REPORTED_MS = 300000 -- longer than a client repeats a call

local faults, outage = key('faults'), outages[call.fault.name]
redis.call('ZREMRANGEBYSCORE', faults, '-inf', whole(now - REPORTED_MS))
local is_out_now
if redis.call('ZADD', faults, 'NX', whole(now), call.id) == 1 then
  redis.call('PEXPIRE', faults, whole(REPORTED_MS))
  is_out_now = report_fault(call.fault, call.attempt, call.process)
else
  is_out_now = outage and outage.is_out
end
return { is_out_now and 1 or 0, pump() }
