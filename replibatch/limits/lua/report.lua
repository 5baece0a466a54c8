-- While the state is not trusted, each process reports its holdings; rebuild.lua then adds the orphans.
-- call: process, snapshot (JSON text from its last heartbeat, or ''), asks (attempts it is asking for in this moment),
--       waits (attempts it waits for), holds (a list of {attempt, fence, price, budget, priority, prediction or '',
--       model})
-- Returns 1, or 0 where the state is trusted already.
--
-- Of an intent that is there only its answer, or the account's own list, tells the end. An older copy also has what
-- this process has given back since: that goes.

suspect()
if is_trusted() then return 0 end

local PASSING = { clock = true, waited_at = true, posts = true, refused = true, epoch = true, suspect = true,
  suspect_since = true, restored = true, restored_refused = true }
if call.snapshot ~= '' then
  local kept = cjson.decode(call.snapshot)
  if kept.clock > number('restored') then
    local limits = {}
    for i = 1, #kept.limits, 2 do limits[kept.limits[i]] = kept.limits[i + 1] end
    for _, field in ipairs(FIELDS) do
      if not PASSING[field] then set(field, tonumber(limits[field]) or limits[field]) end
    end
    set('restored', kept.clock)
    set('restored_refused', tonumber(limits.refused))
    redis.call('DEL', key('limits', 'stored'))
    if #kept.stored > 0 then redis.call('HSET', key('limits', 'stored'), unpack(kept.stored)) end
    for i = 1, #kept.spend, 2 do
      if kept.spend[i] ~= 'reserved' then redis.call('HSET', SPEND, kept.spend[i], kept.spend[i + 1]) end
    end
  end
end

local knows = {}
for _, attempt in ipairs(call.asks) do knows[attempt] = 'asks' end
for _, hold in ipairs(call.holds) do
  local attempt, fence, price, budget, priority, prediction, model = unpack(hold)
  local ticket = ticket_of(attempt)
  knows[attempt] = 'holds'
  ticket = ticket or new_ticket(call.process, fence, price, budget, priority, model)
  if fence >= ticket.fence then
    local where = standing(attempt)
    ticket.process, ticket.fence = call.process, fence
    redis.call('ZREM', WAITERS, attempt)
    redis.call('ZREM', GRANTED, attempt)
    if not redis.call('ZSCORE', SLOTS, attempt) then
      reserve(ticket, 1)
      move_to_slot(attempt, ticket)
    end
    redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)
    if prediction ~= '' then
      ticket.prediction = prediction
      redis.call('ZREM', CREATING, attempt)
    elseif where ~= 'created' then
      redis.call('ZADD', CREATING, 'NX', whole(now), attempt)
    end
    write_ticket(attempt, ticket)
  end
end

for _, attempt in ipairs(call.waits) do knows[attempt] = knows[attempt] or 'waits' end
local tickets = redis.call('HKEYS', TICKETS)
for _, attempt in ipairs(tickets) do
  local ticket = ticket_of(attempt)
  if ticket.process == call.process and not knows[attempt] then
    if standing(attempt) ~= 'waiting' then give_slot_back(attempt, ticket, 0) end
    drop(attempt)
  elseif ticket.process == call.process and knows[attempt] == 'waits' and standing(attempt) ~= 'waiting' then
    back_in_line(attempt, ticket)
  end
end
redis.call('SADD', key('reported'), call.process)
save()
return 1
