-- A POST was answered: it moves from the intents to the window.
-- call: attempt, process, fence, created (bool), requeue (bool: wait again, at the same place),
--       throttled (bool), retry_after_ms (-1: the reply named none)
-- Returns {whether this call was the one that counted it (1 or 0), ms until asking again is of use or -1}.

local ticket = ticket_of(call.attempt)
if not owns(ticket) or not redis.call('ZSCORE', CREATING, call.attempt) then return { 0, pump() } end

-- The true limit is at least what was accepted within one window, and, for a server that spaces creates,
-- what the wait it asks for amounts to.
local function learn()
  local accepted = number('posts') - number('refused')
  local spaced = call.retry_after_ms > 0 and math.floor(config.window_ms / call.retry_after_ms) or 1
  if now >= number('cooldown_until') then
    local guess = accepted > 1 and accepted or math.max(1, spaced)
    if guess < (state.per_window or config.per_window) then set('learned', guess) end
    set('probe_after', state.probe_step and math.min(6400, 2 * (state.probe_after or 150)) or 150)
    set('probe_step', 1)
    set('streak', number('streak') + 1)
  end
  set('since_throttled', 0)
end

local function cool_down()
  local wait = call.retry_after_ms
  if wait < 0 then wait = math.min(60000, 1000 * 2 ^ (math.max(1, number('streak')) - 1)) end
  set('cooldown_until', math.max(number('cooldown_until'), now + wait))
  set('ramp', 1)
end

-- A create went through: open up step by step, and try for more than was learned now and then.
local function carry_on()
  local accepted = number('posts') - number('refused')
  local limit = state.per_window or config.per_window
  set('streak', nil)
  if state.ramp then set('ramp', state.ramp < limit and state.ramp * 2 or nil) end
  if not state.learned then return end
  if accepted > state.learned then set('learned', accepted) end
  set('since_throttled', number('since_throttled') + 1)
  if number('since_throttled') >= (state.probe_after or 150) then
    set('since_throttled', 0)
    set('learned', state.learned + (state.probe_step or 1))
    set('probe_step', 2 * (state.probe_step or 1))
  end
  if state.learned >= limit then
    for _, field in ipairs({ 'learned', 'paced_until', 'probe_after', 'probe_step', 'since_throttled' }) do
      set(field, nil)
    end
  end
end

forget_old_posts()
redis.call('ZREM', CREATING, call.attempt)
count_post(not call.created)
if call.created then
  carry_on()
elseif call.requeue then
  back_in_line(call.attempt, ticket)
else
  free_slot(call.attempt, ticket)
  drop(call.attempt)
end
if call.throttled then
  set('throttled', number('throttled') + 1)
  learn()
  cool_down()
end
return { 1, pump() }
