-- Stops the account: whoever waits is sent away. What it was stopped for before is not mended by that, and stays.
-- call: why
-- Returns ms until asking again is of use, or -1.

if not state.stopped then set('stopped', call.why) end
return pump()
