-- Tickets ------------------------------------------------------------------------------------------------------

local function ticket_of(attempt)
  local packed = redis.call('HGET', TICKETS, attempt)
  if not packed then return nil end
  local process, fence, price, budget, order, prediction, model =
    string.match(packed, '^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$')
  return { process = process, fence = tonumber(fence), price = tonumber(price), budget = budget, order = tonumber(order),
    prediction = prediction, model = model }
end

local function write_ticket(attempt, ticket)
  redis.call('HSET', TICKETS, attempt, table.concat(
    { ticket.process, whole(ticket.fence), whole(ticket.price), ticket.budget, whole(ticket.order), ticket.prediction,
      ticket.model }, '\t'))
end

-- A new one, behind all that wait with its priority. 2^42 arrivals are a line as long as ever.
local function new_ticket(process, fence, price, budget, priority, model)
  set('arrivals', number('arrivals') + 1)
  return { process = process, fence = fence, price = price, budget = budget, model = model,
    order = priority * 4398046511104 + number('arrivals'), prediction = '' }
end

local function owns(ticket)
  return ticket and ticket.process == call.process and ticket.fence == call.fence
end

local function heard_within(process, ms)
  local beat = redis.call('ZSCORE', PROCESSES, process)
  return beat and tonumber(beat) > now - ms
end

local function is_alive(process) return heard_within(process, config.lease_ms) end

-- Money: reserved with the slot, settled when the slot is given back -----------------------------------------------

local function month()
  -- Days since the epoch to a civil month (Howard Hinnant's algorithm); Redis' Lua has no os.date.
  local days = math.floor(now / 86400000) + 719468
  local era = math.floor(days / 146097)
  local day_of_era = days - era * 146097
  local year_of_era = math.floor((day_of_era - math.floor(day_of_era / 1460) + math.floor(day_of_era / 36524)
    - math.floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
  local shifted = math.floor((5 * day_of_year + 2) / 153)
  local number_of_month = shifted < 10 and shifted + 3 or shifted - 9
  local year = year_of_era + era * 400 + (number_of_month <= 2 and 1 or 0)
  return string.format('%04d-%02d', year, number_of_month)
end

local function budget_key(name) return key('budget', name) end

-- Whether an amount of a ticket's budgets is there; one that is not known (-1) fits no budget at all.
local function affordable(ticket, amount)
  if amount < 0 then
    return not state.budget and (ticket.budget == '' or not redis.call('HGET', budget_key(ticket.budget), 'cap'))
  end
  if state.budget then
    local taken = redis.call('HMGET', SPEND, month(), 'reserved')
    if (tonumber(taken[1]) or 0) + (tonumber(taken[2]) or 0) + amount > state.budget then return false end
  end
  if ticket.budget ~= '' then
    local budget = redis.call('HMGET', budget_key(ticket.budget), 'cap', 'spent', 'reserved')
    if budget[1] and (tonumber(budget[2]) or 0) + (tonumber(budget[3]) or 0) + amount > tonumber(budget[1]) then
      return false
    end
  end
  return true
end

local function reserve(ticket, sign)
  if ticket.price <= 0 then return end
  redis.call('HINCRBY', SPEND, 'reserved', whole(sign * ticket.price))
  if ticket.budget ~= '' then
    redis.call('HINCRBY', budget_key(ticket.budget), 'reserved', whole(sign * ticket.price))
  end
end

local function spend(ticket, cost)
  if cost <= 0 then return end
  redis.call('HINCRBY', SPEND, month(), whole(cost))
  if ticket.budget ~= '' then redis.call('HINCRBY', budget_key(ticket.budget), 'spent', whole(cost)) end
end

-- The sliding window of answered POSTs. A bucket's time is rounded up, so a POST never leaves early ---------------------

local function forget_old_posts()
  while true do
    local oldest = redis.call('LINDEX', WINDOW, 0)
    if not oldest then
      if number('posts') ~= 0 then set('posts', 0) end
      if number('refused') ~= 0 then set('refused', 0) end
      return nil
    end
    local time, posts, refused = string.match(oldest, '(%d+):(%d+):(%d+)')
    local leaves = tonumber(time) + config.window_ms
    if leaves > now then return leaves end
    redis.call('LPOP', WINDOW)
    set('posts', number('posts') - tonumber(posts))
    set('refused', number('refused') - tonumber(refused))
  end
end

local function count_post(was_refused, at)
  local bucket_ms = math.max(1, math.floor(config.window_ms / 1000))
  local time = math.ceil((at or now) / bucket_ms) * bucket_ms
  local newest = redis.call('LINDEX', WINDOW, -1)
  local posts, refused = 1, was_refused and 1 or 0
  if newest then
    local last, n, r = string.match(newest, '(%d+):(%d+):(%d+)')
    if tonumber(last) >= time then
      redis.call('RPOP', WINDOW)
      time, posts, refused = tonumber(last), posts + tonumber(n), refused + tonumber(r)
    end
  end
  redis.call('RPUSH', WINDOW, whole(time) .. ':' .. whole(posts) .. ':' .. whole(refused))
  set('posts', number('posts') + 1)
  if was_refused then set('refused', number('refused') + 1) end
end

-- After one refusal the accepted creates of that window are a ceiling, on trial: what goes beyond goes by ones and twos. `answer.lua` tells how the trial ends.
local function is_beyond_ceiling()
  return state.ceiling and redis.call('ZCARD', GRANTED) + redis.call('ZCARD', CREATING) + number('posts') >= state.ceiling
end

-- Slots ----------------------------------------------------------------------------------------------------------

local function tell(ticket, attempt, what)
  redis.call('PUBLISH', key('wake', ticket.process), table.concat({ what, attempt, whole(ticket.fence) }, '\t'))
end

-- Between two creates where a limit was learned. A server that allows no burst counts from one arrival to the next:
-- there the pause begins with the answer (answer.lua), at the latest when the POST has timed out.
local function interval() return math.ceil(config.window_ms / per_window()) end

local function grant(attempt, ticket)
  redis.call('ZREM', WAITERS, attempt)
  redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)
  redis.call('ZADD', GRANTED, whole(now + config.claim_ms), attempt)
  reserve(ticket, 1)
  move_to_slot(attempt, ticket)
  if state.learned then set('paced_until', now + interval() + (state.spaced and config.post_ms or 0)) end
  probe_with(attempt, ticket)
  local busy = redis.call('ZCARD', SLOTS)
  if busy > number('peak') then set('peak', busy) end
end

local function free_slot(attempt, ticket)
  redis.call('ZREM', SLOTS, attempt)
  redis.call('ZREM', GRANTED, attempt)
  redis.call('ZREM', CREATING, attempt)
  reserve(ticket, -1)
end

-- Of an attempt that has not made anything: its item goes on, to another attempt or to its end.
local function give_slot_back(attempt, ticket, cost)
  free_slot(attempt, ticket)
  move_from_slot(attempt, ticket, cost)
end

local function drop(attempt)
  redis.call('ZREM', WAITERS, attempt)
  redis.call('HDEL', TICKETS, attempt)
end

-- What became of the caller's own attempt while the line moved, where it is in the line no more.
local caller_refused

local function turn_away(attempt, ticket, why)
  if attempt == call.attempt then caller_refused = why else tell(ticket, attempt, why) end
  drop(attempt)
end

local function back_in_line(attempt, ticket)
  give_slot_back(attempt, ticket, 0)
  redis.call('ZADD', WAITERS, whole(ticket.order), attempt)
end

-- What time alone frees: unclaimed hand-offs, and slots past their hard deadline.
local function sweep()
  for _, attempt in ipairs(redis.call('ZRANGEBYSCORE', GRANTED, '-inf', whole(now))) do
    back_in_line(attempt, ticket_of(attempt))
  end
  for _, attempt in ipairs(redis.call('ZRANGEBYSCORE', SLOTS, '-inf', whole(now))) do
    local ticket = ticket_of(attempt)
    free_slot(attempt, ticket)
    spend(ticket, ticket.price) -- unknown whether it was charged: counted as if
    drop(attempt)
  end
end

-- The intent to create: from here on a POST may be under way.
local function intend(attempt)
  redis.call('ZREM', GRANTED, attempt)
  redis.call('ZADD', CREATING, whole(now), attempt)
  redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)
  set('total', number('total') + 1)
end

-- From a hand-off to the intent. Nothing is created in a cooldown, or after a stop, that came in between.
local function claim(attempt, ticket)
  if state.stopped then
    give_slot_back(attempt, ticket, 0)
    drop(attempt)
    return 'stopped'
  end
  if now < number('cooldown_until') or not is_trusted() or is_out(attempt, ticket) then
    back_in_line(attempt, ticket)
    return 'waiting'
  end
  intend(attempt)
  return 'claimed'
end

-- Whether an attempt leaves the line for the next model: it is to, and nothing holds it but that its own is out.
local function yields(attempt, ticket)
  local model = outages['model:' .. ticket.model]
  for _, outage in ipairs(needed_by(ticket)) do
    if outage ~= model then return false end
  end
  return redis.call('SISMEMBER', key('yielding'), item_of(attempt)) == 1
end

-- Grants to the heads of the line as long as every limit allows; returns when to ask again (ms), if time will help.
-- Who asks is awake: what goes to a waiter of the same process is claimed for it at once. Any other process claims for
-- itself, and the hand-off goes to the next in line if it does not.
local function pump()
  if not is_trusted() then
    suspect()
    save()
    return -1
  end
  sweep()
  local posts_leave = forget_old_posts()
  local again
  local function at(time) if time and (not again or time < again) then again = time end end
  local passed_over = 0 -- waiters of a process that has missed some heartbeats: dead or not, it would claim too late
  while true do
    local head = redis.call('ZRANGE', WAITERS, passed_over, passed_over)[1]
    if not head then break end
    local ticket = ticket_of(head)
    if not is_alive(ticket.process) then
      drop(head)
    elseif state.stopped then
      turn_away(head, ticket, 'stopped')
    elseif not heard_within(ticket.process, config.claim_ms) then
      passed_over = passed_over + 1
    elseif not affordable(ticket, ticket.price < 0 and -1 or to_reserve(head, ticket.price)) then
      turn_away(head, ticket, 'unaffordable')
    elseif is_out(head, ticket) and yields(head, ticket) then
      turn_away(head, ticket, 'out')
    elseif is_out(head, ticket) then
      at(next_probe(ticket))
      passed_over = passed_over + 1
    else
      local open = redis.call('ZCARD', GRANTED) + redis.call('ZCARD', CREATING)
      if now < number('cooldown_until') then at(number('cooldown_until')) break end
      if state.learned and now < number('paced_until') then at(number('paced_until')) break end
      if redis.call('ZCARD', SLOTS) >= max_concurrent() then break end
      if open + number('posts') >= per_window() then at(posts_leave) break end
      if is_beyond_ceiling() and not state.testing then
        set('testing', 1)
        set('ramp', 1)
      end
      if state.ramp and open >= state.ramp then break end
      grant(head, ticket)
      local is_awake = ticket.process == call.process
      if is_awake then intend(head) end
      if head ~= call.attempt then tell(ticket, head, is_awake and 'claimed' or 'granted') end
    end
  end
  local unclaimed = redis.call('ZRANGE', GRANTED, 0, 0, 'WITHSCORES')
  if unclaimed[2] then at(tonumber(unclaimed[2])) end
  local expiring = redis.call('ZRANGE', SLOTS, 0, 0, 'WITHSCORES')
  if expiring[2] then at(tonumber(expiring[2])) end
  save()
  return again and math.max(again - now, 0) or -1
end

-- Where an attempt stands now.
local function standing(attempt)
  if redis.call('ZSCORE', CREATING, attempt) then return 'claimed' end
  if redis.call('ZSCORE', GRANTED, attempt) then return 'granted' end
  if redis.call('ZSCORE', SLOTS, attempt) then return 'created' end
  if redis.call('ZSCORE', WAITERS, attempt) then return 'waiting' end
  return 'unknown'
end
