-- Lifts a stop: the operator has mended the token or the credit. call: nothing
-- Returns ms until asking again is of use, or -1.

set('stopped', nil)
set('cooldown_until', nil)
return pump()
