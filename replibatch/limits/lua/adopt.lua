-- A new owner for an attempt's place, whatever it is: waiting, creating or created.
-- call: attempt, process, fence
-- Returns the attempt's standing, as in `standing`; 'fenced' where a later owner has it.

local ticket = ticket_of(call.attempt)
if not ticket then return 'unknown' end
if call.fence < ticket.fence then return 'fenced' end
ticket.process, ticket.fence = call.process, call.fence
write_ticket(call.attempt, ticket)
return standing(call.attempt)
