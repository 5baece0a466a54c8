-- The account at a glance, counted now. call: nothing
-- Returns JSON.

forget_old_posts()
bring_limits_in_force() -- no heartbeat does where no process lives
local alive, beats = {}, {}
local reports = redis.call('HGETALL', REPORTS)
for i = 1, #reports, 2 do
  if is_alive(reports[i]) then
    alive[reports[i]] = cjson.decode(reports[i + 1])
    beats[reports[i]] = math.max(0, now - tonumber(redis.call('ZSCORE', PROCESSES, reports[i])))
  end
end
local stored = redis.call('HMGET', STORED, 'max_concurrent', 'per_window', 'budget')
local money = redis.call('HMGET', SPEND, month(), 'reserved')
local waited = {}
local flat = redis.call('HGETALL', key('waited'))
for i = 1, #flat, 2 do waited[flat[i]] = tonumber(flat[i + 1]) end
local reads = 0
for _, entry in ipairs(redis.call('LRANGE', key('reads'), 0, -1)) do
  local at, count = string.match(entry, '(%d+):(%d+)')
  if tonumber(at) + 60000 > now then reads = reads + tonumber(count) end
end
local out = {}
for name, outage in pairs(outages) do
  if outage.is_out then
    out[#out + 1] = { name, outage.kind, outage.message, now - outage.since, outage.count, outage.since }
  end
end
local SLOW_MS = 4000 -- a create without an answer for so long is shown
local oldest = redis.call('ZRANGE', CREATING, 0, 0, 'WITHSCORES')[2]
local waited_for = oldest and now - tonumber(oldest) or 0
if waited_for > SLOW_MS and not outages.api and now - (state.last_created or 0) > SLOW_MS then
  local count = redis.call('ZCARD', CREATING)
  out[#out + 1] = { 'api', 'waiting', 'no answer yet to ' .. count .. (count == 1 and ' create' or ' creates'), waited_for, count, now - waited_for }
end
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
  waiting_for = redis.call('ZCARD', WAITERS) > 0 and blocked_by() or nil,
  waited_ms = waited,
  reads = reads,
  cooling_down_ms = math.max(0, number('cooldown_until') - now),
  stop = state.stopped and { state.stopped, state.stop_message or '' } or nil,
  outages = out,
  outages_so_far = number('outages_so_far'),
  spent = tonumber(money[1]) or 0,
  reserved = tonumber(money[2]) or 0,
  total = number('total'),
  peak = number('peak'),
  throttled = number('throttled'),
  processes = alive,
  beats_ms = beats,
})
