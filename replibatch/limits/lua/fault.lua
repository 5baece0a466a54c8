-- Something that attempts need has failed.
-- call: process, attempt ('' for none), fault (as in `report_fault`)
-- Returns {whether it is out (1 or 0), ms until asking again is of use or -1}.

local is_out_now = report_fault(call.fault, call.attempt, call.process)
return { is_out_now and 1 or 0, pump() }
