-- Lifts a stop: the operator has renewed the token or added credit.
-- call: only (lift no stop but one of this kind; '' for any), forget (what besides: '', 'learned' for the limits learned from
--       refusals, 'all' for the outages, too)
-- Returns ms until asking again is of use, or -1.

local is_lifted = state.stopped and (call.only == '' or state.stopped == call.only) and call.forget ~= 'learned'
if is_lifted then
  set('stopped', nil)
  set('stop_message', nil)
  set('cooldown_until', nil)
end
if is_lifted or call.forget ~= '' then forget_what_was_learned() end
if call.forget == 'all' then forget_outages() end
return pump()
