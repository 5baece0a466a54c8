-- Trusts the state again: what the processes reported, and what the account's own list has besides.
-- call: process, is_new (bool: this process has never seen the state of this account), rows (the account's predictions
--       that run, or were created within a window: a list of {id, whether it runs (1 or 0), age (ms)})
-- Returns {ms to wait for the reports of others before listing again, or -1 when done, ids of the orphaned
-- predictions, which now hold a slot as "prediction:<id>" in the caller's name}.

local CLOCKS_APART_MS = 1000 -- the list's ages are by the clocks of others
local AGAIN_MS = 250 -- until it is looked again whether all have reported
local QUIET_MS = 10000 -- after this long with nothing running and nothing created, no report is missing

suspect()
if is_trusted() then
  save()
  return { -1, {} }
end

local is_quiet = redis.call('ZCARD', SLOTS) == 0
for _, row in ipairs(call.rows) do
  if row[2] == 1 or row[3] < QUIET_MS then is_quiet = false end
end
local wait = number('suspect_since') + config.report_ms - now
-- A worker that lived when this copy was made may know what it does not: it is waited for, as long as it may be alive.
local function is_missing(process, report)
  if not cjson.decode(report).pid or redis.call('SISMEMBER', key('reported'), process) == 1 then return false end
  local beat = tonumber(redis.call('ZSCORE', PROCESSES, process) or 0)
  return beat > number('suspect_since') - config.lease_ms and now < number('suspect_since') + config.lease_ms
end
local reports = redis.call('HGETALL', key('reports'))
for i = 1, #reports, 2 do
  if is_missing(reports[i], reports[i + 1]) then wait = math.max(wait, AGAIN_MS) end
end
if wait > 0 and not (is_quiet and call.is_new) then
  save()
  return { wait, {} }
end

local attempt_of = {}
for _, attempt in ipairs(redis.call('ZRANGE', SLOTS, 0, -1)) do
  local ticket = ticket_of(attempt)
  if ticket.prediction ~= '' then attempt_of[ticket.prediction] = attempt end
end

local orphans, posts = {}, {}
for _, row in ipairs(call.rows) do
  local id, runs, age = row[1], row[2] == 1, row[3]
  if runs and not attempt_of[id] then
    orphans[#orphans + 1] = id
    write_ticket('prediction:' .. id,
      { process = call.process, fence = 0, price = 0, budget = '', order = 0, prediction = id, model = '' })
    redis.call('ZADD', SLOTS, whole(now + config.slot_ms - age), 'prediction:' .. id)
  end
  if age < config.window_ms then posts[#posts + 1] = math.min(now, now - age + CLOCKS_APART_MS) end
  attempt_of[id] = nil
end
for _ in pairs(attempt_of) do posts[#posts + 1] = now end -- created since, or beyond the list

-- The fuller of two windows: the one that is there, or the one the list tells of. The list has no refused POSTs; those
-- the last snapshot knew count from then.
forget_old_posts()
local kept, refused = {}, {}
for _, entry in ipairs(redis.call('LRANGE', WINDOW, 0, -1)) do
  local time, all, bad = string.match(entry, '(%d+):(%d+):(%d+)')
  for i = 1, tonumber(all) do
    local list = i <= tonumber(bad) and refused or kept
    list[#list + 1] = tonumber(time)
  end
end
for _ = #refused + 1, number('restored_refused') do refused[#refused + 1] = number('restored') end
if #posts < #kept then posts = kept end
local all = {}
for _, time in ipairs(posts) do all[#all + 1] = { time, false } end
for _, time in ipairs(refused) do all[#all + 1] = { time, true } end
table.sort(all, function(one, other) return one[1] < other[1] end)
redis.call('DEL', WINDOW)
set('posts', 0)
set('refused', 0)
for _, post in ipairs(all) do count_post(post[2], post[1]) end
redis.call('DEL', key('reported'))
set('epoch', epoch)
set('suspect', nil)
set('suspect_since', nil)
set('restored', nil)
set('restored_refused', nil)
if not is_quiet then set('ramp', 1) end -- whatever wait a 429 asked for may be forgotten
pump()
return { -1, orphans }
