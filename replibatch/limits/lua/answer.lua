-- A POST was answered: it moves from the intents to the window.
-- call: attempt, process, fence, created (bool), prediction (its id, or ''), requeue (bool: wait again, at the same
--       place), throttled (bool), retry_after_ms (-1: the reply named none), fault (as in `report_fault`, or
--       false)
-- Returns {whether this call was the one that counted it (1 or 0), ms until asking again is of use or -1}.
--
-- If the server's limit is lower than the configured one, its refusals teach it, as far as they are evidence:
--
-- state      fields set            a create goes through              a refusal (after the cooldown of the last one)
-- free       -                     -                                  -> on trial; ceiling: accepted in the window
-- on trial   ceiling (testing)     beyond the ceiling two at a time;   -> learned: the accepted creates of the window
--                                  a quarter beyond it -> free
-- learned    learned, probe_after, evenly spaced; after probe_after   -> learned, one less
--            since_throttled       creates -> probing
-- probing    … and good            a window accepted -> learned       -> learned: good; the next probe is put off
--                                  twice as much; at the limit -> free
--
-- So one refusal costs its own pause and a second or two. An account with little credit has 6 a minute and no burst at
-- all, so no less than that is assumed (or the wait it names); where even spaced creates are refused (`spaced`), the
-- pause between two creates begins with the answer of the first. A limit learned on much evidence is probed after 150
-- creates, on little after 10. `resume`, `limits set` and `limits clear` forget a learned limit.

local FIRST_PROBE, LAST_PROBE = 150, 9600
local LITTLE_EVIDENCE = 10 -- creates before the first probe, where few were accepted before the refusal
local LITTLE_CREDIT_MS = 10000

local ticket = ticket_of(call.attempt)
if not owns(ticket) or not redis.call('ZSCORE', CREATING, call.attempt) then return { 0, pump() } end

local function accepted() return number('posts') - number('refused') end

local function end_trial()
  for _, field in ipairs({ 'ceiling', 'ceiling_until', 'testing' }) do set(field, nil) end
end

local function learn()
  set('since_throttled', 0)
  if now > number('ceiling_until') then end_trial() end
  if now < number('cooldown_until') then return end -- of the same burst
  set('streak', number('streak') + 1)
  local least = math.max(1, math.floor(config.window_ms / LITTLE_CREDIT_MS))
  local guess = math.max(accepted(), least)
  if state.good then
    guess = math.max(state.good, math.min(guess, state.learned - 1))
    set('probe_after', math.min(LAST_PROBE, number('probe_after') * (state.probe_after < FIRST_PROBE and 8 or 2)))
    set('good', nil)
  elseif state.learned then
    if 2 * accepted() < state.learned then return end -- refused for another reason than this limit
    local may_be_spacing = not state.spaced and state.learned <= 2 * least
    guess = math.max(1, math.min(guess, may_be_spacing and state.learned or state.learned - 1))
    if may_be_spacing then set('spaced', 1) end
  elseif not state.ceiling then
    set('ceiling', accepted()) -- one refusal is too little evidence
    set('ceiling_until', now + math.max(0, call.retry_after_ms) + 2 * config.window_ms)
    return
  else
    end_trial()
    if accepted() <= least then
      set('spaced', 1)
      if call.retry_after_ms > 0 then guess = math.max(guess, math.floor(config.window_ms / call.retry_after_ms)) end
    end
    set('probe_after', accepted() < FIRST_PROBE and LITTLE_EVIDENCE or FIRST_PROBE)
  end
  if guess < (state.per_window or config.per_window) then set('learned', guess) end
end

local function cool_down()
  local wait = call.retry_after_ms
  if wait <= 0 then wait = math.min(60000, 1000 * 2 ^ (math.max(1, number('streak')) - 1)) end
  set('cooldown_until', math.max(number('cooldown_until'), now + wait))
  set('ramp', 1)
end

-- A create went through: open up step by step, and try for more than was learned now and then.
local function carry_on()
  local limit = state.per_window or config.per_window
  set('streak', nil)
  if state.ceiling and now < number('cooldown_until') then set('ceiling', math.max(state.ceiling, accepted())) end
  if state.ceiling and (now > number('ceiling_until') or accepted() > 1.25 * state.ceiling + 10) then end_trial() end
  if state.ramp then
    local wider = state.testing and math.min(2, state.ramp * 2) or state.ramp * 2
    set('ramp', state.ramp < limit and wider or nil)
  end
  if not state.learned then return end
  if now < number('cooldown_until') then
    set('learned', math.max(state.learned, accepted())) -- of the same burst, answered after the refusal
  else
    set('since_throttled', number('since_throttled') + 1)
    if number('since_throttled') >= (state.good and state.learned or number('probe_after')) then
      set('since_throttled', 0)
      set('good', state.learned)
      set('learned', 2 * state.learned)
    end
  end
  if state.learned >= limit then
    forget_what_was_learned()
  elseif state.spaced then
    set('paced_until', now + interval())
  end
end

forget_old_posts()
redis.call('ZREM', CREATING, call.attempt)
count_post(not call.created)
if call.created then
  ticket.prediction = call.prediction
  write_ticket(call.attempt, ticket)
  -- Listed while its answer was under way, it was taken for an orphan.
  local orphan = ticket_of('prediction:' .. call.prediction)
  if orphan then
    free_slot('prediction:' .. call.prediction, orphan)
    drop('prediction:' .. call.prediction)
  end
  set('last_created', now)
  report_success('api')
  report_model_works(ticket, true)
  carry_on()
elseif call.requeue then
  back_in_line(call.attempt, ticket)
else
  give_slot_back(call.attempt, ticket, 0)
  put_off_probe(call.attempt, ticket)
  drop(call.attempt)
end
if call.fault then report_fault(call.fault, call.attempt, call.process) end
if call.throttled then
  report_success('api')
  set('throttled', number('throttled') + 1)
  learn()
  cool_down()
end
return { 1, pump() }
