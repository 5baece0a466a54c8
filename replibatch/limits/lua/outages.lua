-- Outages: what attempts need and cannot have for now. Nothing that needs it is granted, but one attempt at a time, the
-- probe; everything else goes on. A success ends an outage, and so does `resume`.
--
-- name             needed by               found out by                         ended by
-- api              every attempt           creates without the API's answer     a create that is answered
-- storage          every attempt           saves, free space                    a save, a check of the storage
-- outputs          every attempt           downloads                            a download
-- model:<name>     attempts on the model   its failures, alike and in a row     its success; where it answered 404, a
--                                                                               create that is accepted
-- reads            no attempt              reads without an answer              a read; it is only shown
--
-- outages  hash  name -> JSON: since (ms), last (ms), count (failures in a row), is_out, kind, message, process, probe (the
--                attempt), probe_until (ms), probe_at (ms: the next one), pause_ms (between two)

local OUTAGES = key('outages')
local PROBE_MS = 60000 -- a probe without any outcome is given up
local FIRST_PAUSE_MS, LAST_PAUSE_MS = 500, 4000 -- between two probes
local LAST_MODEL_PAUSE_MS = 60000 -- its probes cost more
local RECENT_MS = 10000 -- a create that went through so lately speaks for the API
local FORGET_MS = 600000 -- failures in a row that are further apart do not count together
local MISSING = 'model_missing' -- the kind of the answers 404 to creates
local HOLDING = { 'api', 'storage', 'outputs' }

local outages = {}
do
  local flat = redis.call('HGETALL', OUTAGES)
  for i = 1, #flat, 2 do outages[flat[i]] = cjson.decode(flat[i + 1]) end
end

local function write_outage(name) redis.call('HSET', OUTAGES, name, cjson.encode(outages[name])) end

local function names_of_outages()
  local names = {}
  for name in pairs(outages) do names[#names + 1] = name end
  return names
end

local function needed_by(ticket)
  local found = {}
  if next(outages) == nil then return found end
  for _, name in ipairs(HOLDING) do
    if outages[name] and outages[name].is_out then found[#found + 1] = outages[name] end
  end
  local model = outages['model:' .. ticket.model]
  if model and model.is_out then found[#found + 1] = model end
  return found
end

-- A probe is an attempt with a slot, or, as `try:<name>`, a save that needs none.
local function is_probing(outage)
  if outage.probe == '' or now >= outage.probe_until then return false end
  return string.sub(outage.probe, 1, 4) == 'try:' or redis.call('ZSCORE', key('slots'), outage.probe) ~= false
end

-- When the next probe of an outage may begin.
local function free_at(outage)
  return is_probing(outage) and math.max(outage.probe_until, outage.probe_at) or outage.probe_at
end

-- Whether an outage holds an attempt: the attempt needs that part, is not its probe, and may not become it.
local function is_out(attempt, ticket)
  for _, outage in ipairs(needed_by(ticket)) do
    if outage.probe ~= attempt and now < free_at(outage) then return true end
  end
  return false
end

local function next_probe(ticket)
  local latest
  for _, outage in ipairs(needed_by(ticket)) do latest = math.max(latest or 0, free_at(outage)) end
  return latest
end

-- A grant to what needs something that is out makes it the probe.
local function probe_with(attempt, ticket)
  if next(outages) == nil then return end
  local model = 'model:' .. ticket.model
  for name, outage in pairs(outages) do
    local is_needed = name == model
    for _, holding in ipairs(HOLDING) do is_needed = is_needed or name == holding end
    if is_needed and outage.is_out then
      outage.probe = attempt
      outage.probe_until = now + (name == model and config.slot_ms or PROBE_MS)
      write_outage(name)
    end
  end
end

-- Something failed. fault: name, kind (failures count together while they are alike), message, after (how many in a row
-- make an outage; one for the API, unless a create went through lately), pause_ms (before the next probe, 0 for a pause
-- that grows). Returns whether it is out.
local function report_fault(fault, attempt, process)
  local outage = outages[fault.name]
  -- What was created before a model went tells nothing of its being there.
  if outage and outage.kind == MISSING and fault.kind ~= MISSING and (outage.is_out or now - outage.last <= FORGET_MS) then
    return outage.is_out
  end
  if not outage or (not outage.is_out and (outage.kind ~= fault.kind or now - outage.last > FORGET_MS)) then
    outage = { since = now, count = 0, is_out = false, probe = '', probe_until = 0, probe_at = now, pause_ms = 0 }
    outages[fault.name] = outage
  end
  outage.last, outage.kind, outage.message, outage.process = now, fault.kind, fault.message, process
  outage.count = outage.count + 1
  local was_working = fault.name ~= 'api' or (state.last_created and now - state.last_created < RECENT_MS)
  if not outage.is_out and outage.count >= (was_working and fault.after or 1) then
    outage.is_out, outage.since = true, now
    set('outages_so_far', number('outages_so_far') + 1)
  end
  if outage.probe == attempt or not is_probing(outage) then
    if now >= outage.probe_at or (attempt ~= '' and outage.probe == attempt) then
      outage.pause_ms = fault.pause_ms > 0 and fault.pause_ms
        or math.min(string.sub(fault.name, 1, 6) == 'model:' and LAST_MODEL_PAUSE_MS or LAST_PAUSE_MS, math.max(FIRST_PAUSE_MS, 2 * outage.pause_ms))
      outage.probe_at = now + outage.pause_ms
    end
    outage.probe = ''
  end
  write_outage(fault.name)
  return outage.is_out
end

-- It works: what waited goes on, a few at first where everything waited.
local function report_success(name)
  local outage = outages[name]
  if not outage then return end
  if outage.is_out and name == 'api' then set('ramp', 1) end
  outages[name] = nil
  redis.call('HDEL', OUTAGES, name)
end

-- A prediction of a model has succeeded, or a create of one was accepted: it works, if that was in question.
local function report_model_works(ticket, is_create)
  local outage = outages['model:' .. ticket.model]
  if outage and (outage.kind == MISSING) == is_create then report_success('model:' .. ticket.model) end
end

-- The probe of a model has ended without success, and its failure is still to be reported.
local function put_off_probe(attempt, ticket)
  local outage = outages['model:' .. ticket.model]
  if not outage or outage.probe ~= attempt then return end
  outage.probe_at = math.max(outage.probe_at, now + FIRST_PAUSE_MS)
  write_outage('model:' .. ticket.model)
end

local function forget_outages()
  outages = {}
  redis.call('DEL', OUTAGES)
end
