-- The account at a glance, counted now. call: nothing
-- KEYS[10] reports hash   KEYS[11] stored hash (see heartbeat.lua)
-- Returns JSON.

forget_old_posts()
local alive = {}
local reports = redis.call('HGETALL', KEYS[10])
for i = 1, #reports, 2 do
  if is_alive(reports[i]) then alive[reports[i]] = cjson.decode(reports[i + 1]) end
end
local stored = redis.call('HMGET', KEYS[11], 'max_concurrent', 'per_window', 'budget')
local money = redis.call('HMGET', SPEND, month(), 'reserved')
local creating = redis.call('ZCARD', CREATING) + redis.call('ZCARD', GRANTED)
save()
return cjson.encode({
  max_concurrent = max_concurrent(),
  per_window = state.per_window or config.per_window,
  learned_per_window = state.learned or nil,
  budget = state.budget or nil,
  stored = { max_concurrent = tonumber(stored[1]), per_window = tonumber(stored[2]), budget = tonumber(stored[3]) },
  in_flight = redis.call('ZCARD', SLOTS),
  creating = creating,
  in_window = number('posts') + creating,
  waiting = redis.call('ZCARD', WAITERS),
  cooling_down_ms = math.max(0, number('cooldown_until') - now),
  stopped = state.stopped or nil,
  spent = tonumber(money[1]) or 0,
  reserved = tonumber(money[2]) or 0,
  total = number('total'),
  peak = number('peak'),
  throttled = number('throttled'),
  processes = alive,
})
