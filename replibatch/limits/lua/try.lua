-- Asks to try what may be out, with something that needs no slot: one at a time.
-- call: outage (its name), who (`try:…`; has the turn until it reports, or for PROBE_MS)
-- Returns 0: go on; otherwise the ms to wait before asking again.

local outage = outages[call.outage]
if not outage or not outage.is_out or (outage.probe == call.who and now < outage.probe_until) then return 0 end
if now < free_at(outage) then return math.min(1000, free_at(outage) - now) end
outage.probe, outage.probe_until = call.who, now + PROBE_MS
write_outage(call.outage)
return 0
