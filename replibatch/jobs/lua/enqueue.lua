-- A single job enters, in the caller's publishing custody.
-- call: id, process, model, priority, request (JSON text), catalog (JSON text), link ('' or JSON text), asked (what the
--       id stands for, '' where it was made up), again (a job that ended without success is made again), budget (that it
--       draws on, or '')
-- Returns {1, number of its attempt, model}; {0} where the id is known: the same id is the same job. It calls one task,
-- the first that is named.
-- {-1, what the id stands for} where that is something else, and nothing has changed.

local function asked_of(known)
  if known[5] then return known[5] end
  return known[6] and cjson.decode(known[6]).asked or ''
end

local known = redis.call('HMGET', record_key(call.id), 'state', 'process', 'link', 'result', 'asked', 'request')
local begun = {}
if call.again and known[4] and known[1] ~= 'succeeded' then
  local settled = { result = known[4], request = call.request }
  begun = where_to_go_on(settled) or {}
  clear_settled(call.id, settled)
  known = {}
end
if known[1] then
  local asked = asked_of(known)
  if call.asked ~= '' and asked ~= '' and asked ~= call.asked then return { -1, asked } end
  if not known[4] then let_yield_on_its_way(call.id, { request = known[6] }, call.request) end
  if call.link ~= '' and (known[3] or '') == '' then
    redis.call('HSET', record_key(call.id), 'link', call.link)
    if known[4] then owe_call(call.id, call.link, known[4], 0) end
  end
  if known[4] and redis.call('TTL', record_key(call.id)) >= 0 then -- as long as one that is made now
    redis.call('PEXPIRE', record_key(call.id), whole(call.keep_ms))
  end
  if known[1] ~= 'publishing' or known[2] ~= call.process then return { 0 } end
  local at = redis.call('HMGET', record_key(call.id), 'attempt', 'model')
  return { 1, tonumber(at[1]), at[2] }
end
begun.attempt, begun.model = begun.attempt or '1', begun.model or call.model
redis.call('HSET', record_key(call.id), 'v', VERSION, 'state', 'publishing', 'process', call.process, 'fence', whole(now),
  'attempt', begun.attempt, 'model', begun.model, 'priority', whole(call.priority), 'request', call.request,
  'catalog', call.catalog, 'link', call.link)
if call.budget ~= '' then redis.call('HSET', record_key(call.id), 'budget', call.budget) end
go_on_with(call.id, begun)
redis.call('ZADD', key('asked'), whole(now), call.id)
add_to_custody(call.id, call.process)
expect_message(call.id, whole(call.priority))
return { 1, tonumber(begun.attempt), begun.model }
