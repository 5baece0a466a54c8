-- Woken waiters turn their hand-offs into intents to create.
-- call: process, claims (a list of {attempt, fence})
-- Returns {standings, ms until asking again is of use or -1}; a standing: claimed, waiting (the hand-off was taken
-- back), stopped, or unknown (the place is lost: acquire again).

local standings = {}
for i, waiter in ipairs(call.claims) do
  local attempt, fence = waiter[1], waiter[2]
  local ticket = ticket_of(attempt)
  if not ticket or ticket.process ~= call.process or ticket.fence ~= fence then
    standings[i] = 'unknown'
  else
    standings[i] = standing(attempt)
    if standings[i] == 'granted' then standings[i] = claim(attempt, ticket) end
  end
end
return { standings, pump() }
