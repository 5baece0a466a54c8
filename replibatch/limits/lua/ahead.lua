-- The money reserved for an item's steps without a slot, from the moment its first step enters the line: an item
-- with steps that do not all fit a budget does not start, and no other takes the money of its later steps. A grant
-- moves the price of its step from here to the slot; an attempt that ends without success brings back what it has not
-- cost, for the item's next one. What is left is given up with the custody (jobs/lua/jobs.lua).

local AHEAD = key('ahead')

local function item_of(attempt) return (string.gsub(attempt, ':%d+$', '')) end
local function number_of(attempt) return string.match(attempt, ':(%d+)$') end

-- The amount, and the number of the attempt that the item is at.
local function ahead_of(attempt)
  local held = redis.call('HGET', AHEAD, item_of(attempt))
  if not held then return nil end
  local amount, at = string.match(held, '^(%d+)\t[^\t]*\t(%d+)$')
  return tonumber(amount), at
end

local function set_ahead(attempt, budget, amount)
  local change = amount - (ahead_of(attempt) or 0)
  redis.call('HSET', AHEAD, item_of(attempt), table.concat({ whole(amount), budget, number_of(attempt) }, '\t'))
  if change == 0 then return end
  redis.call('HINCRBY', SPEND, 'reserved', whole(change))
  if budget ~= '' then redis.call('HINCRBY', key('budget', budget), 'reserved', whole(change)) end
end

-- What of a price is not reserved yet.
local function to_reserve(attempt, price) return math.max(0, price - (ahead_of(attempt) or 0)) end

-- A slot takes over the price of its step, or gives back what of it its attempt has not cost: not one that ends late,
-- as its item has gone on to another attempt.
local function move_to_slot(attempt, ticket)
  local held = ahead_of(attempt)
  if held then set_ahead(attempt, ticket.budget, math.max(0, held - math.max(0, ticket.price))) end
end
local function move_from_slot(attempt, ticket, cost)
  local held, at = ahead_of(attempt)
  if held and at == number_of(attempt) then
    set_ahead(attempt, ticket.budget, held + math.max(0, ticket.price - cost))
  end
end
