-- While the state is not trusted, each process says what it holds; rebuild.lua then adds what nobody answers for.
-- KEYS[10] reports hash   KEYS[11] stored hash (see heartbeat.lua)
-- call: process, keepsake (JSON text from its last heartbeat, or ''), knows (attempts it holds or is asking for),
--       holds (a list of {attempt, fence, price, purse, priority, prediction or ''})
-- Returns 1, or 0 where the state is trusted already.
--
-- What is there stays as it is, an intent above all: only its answer, or the account's own list, ends it.

suspect()
if is_trusted() then return 0 end

local PASSING = { clock = true, posts = true, refused = true, epoch = true, suspect = true, suspect_since = true,
  restored = true, ramp = true }
if call.keepsake ~= '' then
  local kept = cjson.decode(call.keepsake)
  if kept.clock > number('restored') then
    set('restored', kept.clock)
    for i = 1, #kept.limits, 2 do
      local field, value = kept.limits[i], kept.limits[i + 1]
      if not PASSING[field] then set(field, tonumber(value) or value) end
    end
    if #kept.stored > 0 then redis.call('HSET', KEYS[11], unpack(kept.stored)) end
    for i = 1, #kept.spend, 2 do
      if kept.spend[i] ~= 'reserved' then redis.call('HSET', SPEND, kept.spend[i], kept.spend[i + 1]) end
    end
  end
end

local function take_a_slot(attempt, ticket, prediction)
  ticket.prediction = prediction
  write_ticket(attempt, ticket)
  redis.call('ZREM', WAITERS, attempt)
  redis.call('ZREM', GRANTED, attempt)
  if not redis.call('ZSCORE', SLOTS, attempt) then reserve(ticket, 1) end
  redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)
  if prediction == '' then redis.call('ZADD', CREATING, whole(now), attempt) end
end

for _, hold in ipairs(call.holds) do
  local attempt, fence, price, purse, priority, prediction = unpack(hold)
  local ticket = ticket_of(attempt)
  if not ticket then
    set('arrivals', number('arrivals') + 1)
    ticket = { process = call.process, fence = fence, price = price, purse = purse,
      order = priority * 4398046511104 + number('arrivals') }
    take_a_slot(attempt, ticket, prediction)
  elseif fence >= ticket.fence then
    local where = standing(attempt)
    ticket.process, ticket.fence = call.process, fence
    if where == 'waiting' or where == 'granted' then
      take_a_slot(attempt, ticket, prediction)
    else
      write_ticket(attempt, ticket)
    end
  end
end

-- An older copy still has what this process has given back since.
local knows = {}
for _, attempt in ipairs(call.knows) do knows[attempt] = true end
for _, attempt in ipairs(redis.call('ZRANGE', SLOTS, 0, -1)) do
  local ticket = ticket_of(attempt)
  if ticket.process == call.process and not knows[attempt] then
    free_slot(attempt, ticket)
    drop(attempt)
  end
end
save()
return 1
