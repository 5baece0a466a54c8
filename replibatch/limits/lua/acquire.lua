-- Asks for a slot and a place in the window, both or neither.
-- call: attempt, process, fence, price (micro-dollars), budget ('' for none), priority (0 first), model, whole (the price with
--       those of the steps still to come, -1 where one is not known; null for an item of one step), yields (true: while
--       its model is out, its item goes on with the next; false: it waits; null: as was said of the item before)
-- Returns {standing, ms until asking again is of use or -1}; standing: claimed (POST now), waiting,
-- created (it has its prediction), unsettled, stopped, unaffordable, out (its model is, and it yields), fenced (a later
-- owner has it), unknown (the caller's own heartbeat is too old to be granted anything).
-- An attempt that waits or holds already keeps its place; a new owner (a later fence) takes it over. Taken over
-- with its POST unanswered it is `unsettled`: whether something was created must be found out first.

local ticket = ticket_of(call.attempt)
local was_claimed = false
if ticket and call.fence < ticket.fence then return { 'fenced', -1 } end
if call.yields == true then redis.call('SADD', key('yielding'), item_of(call.attempt)) end
if call.yields == false then redis.call('SREM', key('yielding'), item_of(call.attempt)) end
if ticket then
  was_claimed = not owns(ticket) and redis.call('ZSCORE', CREATING, call.attempt)
  ticket.process, ticket.fence = call.process, call.fence
else
  if state.stopped then return { 'stopped', -1 } end
  ticket = new_ticket(call.process, call.fence, call.price, call.budget, call.priority, call.model)
  local wanted = call.whole ~= cjson.null and call.whole or call.price
  if not affordable(ticket, wanted < 0 and -1 or to_reserve(call.attempt, wanted)) then return { 'unaffordable', -1 } end
  if is_out(call.attempt, ticket) and yields(call.attempt, ticket) then return { 'out', -1 } end
  if wanted ~= call.price and wanted >= 0 or ahead_of(call.attempt) then
    set_ahead(call.attempt, ticket.budget, math.max(0, wanted))
  end
  redis.call('ZADD', WAITERS, whole(ticket.order), call.attempt)
end
write_ticket(call.attempt, ticket)
local again = pump()
local result = standing(call.attempt)
if result == 'granted' then
  result = claim(call.attempt, ticket)
  save()
elseif result == 'unknown' then
  result = caller_refused or 'unknown'
elseif result == 'claimed' and was_claimed then
  result = 'unsettled'
end
return { result, again }
