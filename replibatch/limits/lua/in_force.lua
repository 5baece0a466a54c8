-- The limits in force: the operator's; else the lowest any live process was given; else the default.
local REPORTS, STORED = key('reports'), key('limits', 'stored')

local function bring_limits_in_force()
  local stored = redis.call('HMGET', STORED, 'max_concurrent', 'per_window', 'budget')
  local lowest = {}
  local reports = redis.call('HGETALL', REPORTS)
  for i = 1, #reports, 2 do
    local process, report = reports[i], reports[i + 1]
    if is_alive(process) then
      for name, value in pairs(cjson.decode(report)) do
        if type(value) == 'number' and (not lowest[name] or value < lowest[name]) then lowest[name] = value end
      end
    elseif not redis.call('ZSCORE', PROCESSES, process) then
      redis.call('HDEL', REPORTS, process)
    end
  end
  for i, name in ipairs({ 'max_concurrent', 'per_window', 'budget' }) do
    local value = tonumber(stored[i]) or lowest[name]
    if state[name] ~= value then set(name, value) end
  end
end
