-- What the line waits for, asked of the same state and in the same order as `pump` grants by: `rebuild` (the state was
-- lost), `stopped`, `outage`, `cooldown`, `pacing` (a limit that was learned, or the first steps after a cooldown), `slots`,
-- `window`, or `claim` (nothing but the waiter's own waking up).
local function blocked_by()
  local open = redis.call('ZCARD', GRANTED) + redis.call('ZCARD', CREATING)
  if not is_trusted() then return 'rebuild' end
  if state.stopped then return 'stopped' end
  local head = redis.call('ZRANGE', WAITERS, 0, 0)[1]
  if head and is_out(head, ticket_of(head)) then return 'outage' end
  if now < number('cooldown_until') then return 'cooldown' end
  if state.learned and now < number('paced_until') then return 'pacing' end
  if redis.call('ZCARD', SLOTS) >= max_concurrent() then return 'slots' end
  if open + number('posts') >= per_window() then return 'window' end
  if state.ramp and open >= state.ramp then return 'pacing' end
  return 'claim'
end

