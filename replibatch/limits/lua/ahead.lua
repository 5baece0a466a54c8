-- The money reserved for an item's steps without a slot, from the moment its first step enters the line: an item
-- with steps that do not all fit a budget does not start, and no other takes the money of its later steps. A grant
-- moves the price of its step from here to the slot. What is left is given up with the custody (jobs/lua/jobs.lua).

local AHEAD = key('ahead')

local function item_of(attempt) return (string.gsub(attempt, ':%d+$', '')) end

local function ahead_of(attempt)
  local held = redis.call('HGET', AHEAD, item_of(attempt))
  return held and tonumber(string.match(held, '^%d+')) or nil
end

local function set_ahead(attempt, budget, amount)
  local change = amount - (ahead_of(attempt) or 0)
  redis.call('HSET', AHEAD, item_of(attempt), whole(amount) .. '\t' .. budget)
  if change == 0 then return end
  redis.call('HINCRBY', SPEND, 'reserved', whole(change))
  if budget ~= '' then redis.call('HINCRBY', key('budget', budget), 'reserved', whole(change)) end
end

-- What of a price is not reserved yet.
local function to_reserve(attempt, price) return math.max(0, price - (ahead_of(attempt) or 0)) end

-- A slot takes over the price of its step, or gives it back.
local function move_to_slot(attempt, ticket)
  local held = ahead_of(attempt)
  if held then set_ahead(attempt, ticket.budget, math.max(0, held - math.max(0, ticket.price))) end
end
local function move_from_slot(attempt, ticket)
  local held = ahead_of(attempt)
  if held then set_ahead(attempt, ticket.budget, held + math.max(0, ticket.price)) end
end
