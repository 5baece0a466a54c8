-- Something that attempts need works. call: process, outage (its name), own (bool: says nothing of the failures of another live process)
-- Returns ms until asking again is of use, or -1.

local outage = outages[call.outage]
if outage and not (call.own and outage.process ~= call.process and is_alive(outage.process)) then
  report_success(call.outage)
end
return pump()
