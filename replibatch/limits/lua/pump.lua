-- Asks again, when time alone may have freed something. call: nothing
-- Returns ms until asking again is of use, or -1.

return pump()
