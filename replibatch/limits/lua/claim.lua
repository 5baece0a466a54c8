-- A woken waiter turns its hand-off into the intent to create.
-- call: attempt, process, fence
-- Returns {standing, ms until asking again is of use or -1}: claimed, waiting (the hand-off was taken back), stopped,
-- or unknown (the place is lost: acquire again).

local ticket = ticket_of(call.attempt)
if not owns(ticket) then return { 'unknown', -1 } end
local result = standing(call.attempt)
if result == 'granted' then result = claim(call.attempt, ticket) end
return { result, pump() }
