-- A prediction is over, or an attempt gives its place up: the slot goes to the next in line, the cost is settled.
-- call: attempt, process, fence, cost (micro-dollars), succeeded (bool: its prediction did)
-- Returns {whether this call freed it (1 or 0), ms until asking again is of use or -1}.

local ticket = ticket_of(call.attempt)
if not owns(ticket) then return { 0, pump() } end
if redis.call('ZSCORE', SLOTS, call.attempt) then
  spend(ticket, call.cost)
  if call.succeeded then
    free_slot(call.attempt, ticket)
    report_model_works(ticket, false)
  else
    give_slot_back(call.attempt, ticket, call.cost)
    put_off_probe(call.attempt, ticket)
  end
end
drop(call.attempt)
return { 1, pump() }
