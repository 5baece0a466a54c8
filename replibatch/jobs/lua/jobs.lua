-- Who has which generation. This file is the head of every script in this folder.
--
-- call: `process` and `keep_ms` (how long results are kept) are in all scripts' calls
-- ARGV[2…4]  where the call gives notice: the key and channel, the text, how many seconds it is kept
-- The keys and their fields are in replibatch/redisdb/keys.py. Of a record's: `sent` identifies its last create
-- in the account's list, `booked` is the cost of its attempts as its batch has it, `paid` the cost of the prediction
-- that has ended, `followers` the batches that wait for it and did not have it made.
--
-- A record and a batch say which version made them. A process has nothing to do with those of a later one: a newer will.
-- Every script is idempotent; every write to a record is fenced. Fences start at the time, so that a generation made
-- again never repeats one.

local VERSION = '1' -- to be raised where an earlier worker could not make sense of a record, or of its models

local function record_key(id) return key('gen', id) end
local function custody_key(process) return key('custody', process == '' and '-' or process) end

local now = server_ms()

-- A record as field -> value, nil where there is none.
local function read(id)
  local flat = redis.call('HGETALL', record_key(id))
  if #flat == 0 then return nil end
  local record = {}
  for i = 1, #flat, 2 do record[flat[i]] = flat[i + 1] end
  return record
end

-- Of a record or a batch.
local function is_of_later_version(made) return tonumber(made.v or VERSION) > tonumber(VERSION) end

-- A record for the caller: its fields, flat, with what time it is now.
local function flat_record(id)
  local flat = redis.call('HGETALL', record_key(id))
  flat[#flat + 1] = 'now'
  flat[#flat + 1] = whole(now)
  return flat
end

-- Whether the caller still has the generation.
local function has(record)
  return record and record.state == 'running' and record.process == call.process
    and tonumber(record.fence) == call.fence
end

local function add_to_custody(id, process)
  redis.call('SADD', custody_key(process), id)
  redis.call('SADD', key('holders'), process)
end

local function put_in_custody(id, record, process, state)
  redis.call('SREM', custody_key(record.process or ''), id)
  add_to_custody(id, process)
  redis.call('HSET', record_key(id), 'process', process, 'state', state)
end

-- From now on a message is on its way to that list of the queue, or in it, until a task takes custody.
local function expect_message(id, priority)
  redis.call('ZADD', key('queued', priority), whole(now), id)
end

local function expect_no_message(id, record)
  redis.call('ZREM', key('queued', record.priority), id)
end

-- Has the caller publish a message at the head of the queue.
local function publish_at_head(id, record)
  expect_no_message(id, record)
  put_in_custody(id, record, call.process, 'publishing')
  redis.call('HSET', record_key(id), 'priority', '0')
  expect_message(id, '0')
  record.priority = '0'
end

-- Gives up what was reserved for an item's steps to come (limits/lua/ahead.lua).
local function give_up_ahead(id)
  local held = redis.call('HGET', key('ahead'), id)
  if not held then return end
  local amount, budget = string.match(held, '^(%d+)\t([^\t]*)\t')
  redis.call('HDEL', key('ahead'), id)
  if amount == '0' then return end
  redis.call('HINCRBY', key('spend'), 'reserved', '-' .. amount)
  if budget ~= '' then redis.call('HINCRBY', key('budget', budget), 'reserved', '-' .. amount) end
end

-- What attempts have cost (micro-dollars); a cost that is not known is null.
local function cost_of(attempts)
  local cost = 0
  for _, attempt in ipairs(attempts) do cost = cost + math.floor((tonumber(attempt.cost_usd) or 0) * 1000000 + 0.5) end
  return cost
end

-- What the steps before the one that a request (JSON text) is for have cost; nil for the first of an item.
local function cost_of_steps_made(request)
  if not string.find(request, '"made":[', 1, true) then return nil end
  local asked = cjson.decode(request)
  return asked.made and cost_of(asked.paid or {}) or nil
end

-- Out of everybody's hands.
local function release(id, record)
  give_up_ahead(id)
  redis.call('SREM', key('yielding'), id)
  redis.call('SREM', custody_key(record.process or ''), id)
  redis.call('SREM', key('canceling'), id)
end

local function message(id, record)
  return { id, tonumber(record.attempt), record.model, tonumber(record.priority) }
end

-- Tells others what this call has changed, if it is to.
local function give_notice()
  if not ARGV[2] then return end
  redis.call('SETEX', ARGV[2], ARGV[4], ARGV[3])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end

-- Adds to the account's counters; amounts by field.
local function count(amounts)
  local ever, today = key('counts'), key('counts', whole(math.floor(now / 86400000)))
  for field, amount in pairs(amounts) do
    redis.call('HINCRBY', ever, field, whole(amount))
    redis.call('HINCRBY', today, field, whole(amount))
  end
  redis.call('PEXPIRE', today, '691200000')
end

-- Counts a finished generation in its batch, and wakes those that follow the batch.
local function finish_in_batch(batch, index, id, state, cost)
  local meta = key('batch', batch)
  redis.call('SREM', key('batch', batch, 'out'), id)
  redis.call('HINCRBY', meta, state, 1)
  redis.call('HINCRBY', meta, 'cost', whole(cost))
  redis.call('XADD', key('batch', batch, 'finished'), '*', 'id', id, 'index', index)
end

-- The application's own task is to be called with the result; until that is published, the call is owed. `since` is
-- when the caller sets out to publish it. Returns the call, as a list; an empty one where there is no such task.
local function owe_call(id, link, result, since)
  if not link or link == '' then return {} end
  local owed = cjson.encode({ id = id, link = link, result = result })
  redis.call('ZADD', key('calls'), whole(since), owed)
  return { owed }
end

-- Records last as long as their batches -----------------------------------------------------------------------------

local AGE_AT_ONCE = 200
local PARTS = { '', ':pending', ':dropped', ':begun', ':out', ':finished' } -- of a batch

-- When the last of a record's batches was over; nil while any goes on.
local function needed_until(batch, followers)
  local latest = 0
  for name in string.gmatch((batch or '') .. '/ ' .. (followers or ''), '([^/ ]+)/') do
    local over_at = redis.call('HGET', key('batch', name), 'over_at')
    if not over_at and redis.call('EXISTS', key('batch', name)) == 1 then return nil end
    latest = math.max(latest, tonumber(over_at) or 0)
  end
  return latest
end

-- A record expires keep_ms after the last of its batches was over, and while one goes on it does not.
local function age_record(id)
  local record = redis.call('HMGET', record_key(id), 'batch', 'followers')
  if redis.call('HEXISTS', record_key(id), 'result') == 0 then return end -- gone, or made again
  local since = needed_until(record[1], record[2])
  if not since then
    redis.call('PERSIST', record_key(id))
  elseif redis.call('PTTL', record_key(id)) < since + call.keep_ms - now then
    redis.call('PEXPIREAT', record_key(id), whole(since + call.keep_ms))
  end
end

-- Tells the next page of a batch's records that it is over, or goes on after all. Its own keys expire once all know:
-- the records are found through them.
local function age(batch)
  local aging = key('batches', 'aging')
  local from = redis.call('HGET', aging, batch)
  if not from then return end
  local page = redis.call('XRANGE', key('batch', batch, 'finished'), from, '+', 'COUNT', AGE_AT_ONCE)
  for _, entry in ipairs(page) do age_record(entry[2][2]) end
  if #page == AGE_AT_ONCE then
    redis.call('HSET', aging, batch, '(' .. page[#page][1])
    return
  end
  redis.call('HDEL', aging, batch)
  local meta = redis.call('HMGET', key('batch', batch), 'over_at', 'budget')
  if not meta[1] then return end
  local ends = whole(tonumber(meta[1]) + call.keep_ms)
  if not meta[2] then
    redis.call('PEXPIREAT', key('budget', batch), ends)
  elseif redis.call('EXISTS', key('budget', meta[2], 'batches')) == 0 then -- no other draws on it
    redis.call('PEXPIREAT', key('budget', meta[2]), ends)
  end
  for _, part in ipairs(PARTS) do redis.call('PEXPIREAT', key('batch', batch) .. part, ends) end
end

-- A batch that is closed and has nothing left expires with its records; one that goes on does not.
local function expire_if_over(batch)
  local meta = redis.call('HMGET', key('batch', batch), 'closed', 'total', 'budget', 'over_at', 'succeeded', 'placeholder',
    'failed', 'canceled')
  local finished = 0
  for i = 5, 8 do finished = finished + (tonumber(meta[i]) or 0) end
  local over, was_over = meta[1] and finished >= (tonumber(meta[2]) or 0), meta[4]
  if over and not was_over then
    redis.call('HSET', key('batch', batch), 'over_at', whole(now))
    redis.call('HSET', key('batches', 'aging'), batch, '-')
    if meta[3] then redis.call('SREM', key('budget', meta[3], 'batches'), batch) end
  elseif was_over and not over then
    redis.call('HDEL', key('batch', batch), 'over_at')
    redis.call('HSET', key('batches', 'aging'), batch, '-')
    for _, part in ipairs(PARTS) do redis.call('PERSIST', key('batch', batch) .. part) end
    redis.call('PERSIST', key('budget', meta[3] or batch))
    if meta[3] then redis.call('SADD', key('budget', meta[3], 'batches'), batch) end
  end
  age(batch)
end

local function close(batch)
  redis.call('HSET', key('batch', batch), 'closed', '1')
  redis.call('ZREM', key('batches', 'open'), batch)
  expire_if_over(batch)
end

-- Pending requests -------------------------------------------------------------------------------------------------

-- A request of which nothing is in a shape of its batch.
local function whole_entry(id, index, request) return table.concat({ id, index, '-', request }, '\t') end

local shapes = {} -- of the batches this call meets

-- The parts of an entry: id, index, first model, request (JSON text).
local function unpacked(batch, entry)
  local id, index, shape, own = string.match(entry, '^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$')
  if shape == '-' then return id, index, cjson.decode(own).model, own end
  local name = batch .. shape
  if not shapes[name] then
    local text = redis.call('HGET', key('batch', batch), 'shape:' .. shape)
    shapes[name] = { model = cjson.decode(text).model, opening = string.sub(text, 1, -2) .. ',' }
  end
  return id, index, shapes[name].model, shapes[name].opening .. string.sub(own, 2)
end

-- What came back from the queue is the first to go again; in a batch that was canceled it never will.
local function back_to_pending(batch, entry)
  if redis.call('HEXISTS', key('batch', batch), 'canceled_at') == 1 then
    redis.call('RPUSH', key('batch', batch, 'dropped'), entry)
    redis.call('HINCRBY', key('batch', batch), 'canceled', 1)
    expire_if_over(batch)
  else
    redis.call('LPUSH', key('batch', batch, 'pending'), entry)
  end
end

local function let_go_on(batch)
  redis.call('HSET', key('batch', batch), 'held', '', 'let_go_at', whole(now))
end

-- Makes room for a generation that is made again: the predictions of its earlier life belong to no attempt any more.
local function clear(id, attempts)
  for _, attempt in ipairs(attempts) do
    if type(attempt.prediction_id) == 'string' then
      redis.call('SET', key('prediction', attempt.prediction_id), 'over', 'XX', 'KEEPTTL')
    end
  end
  redis.call('SREM', key('canceling'), id)
  redis.call('DEL', record_key(id))
end

-- How far a generation is that ended with an output made and paid for, and not saved: it goes on from the prediction,
-- as the attempt that claimed it. nil where nothing is owed. As in `begun`: attempt, model, attempts, booked, counted,
-- and the prediction.
local function owed_of(record)
  local result = cjson.decode(record.result)
  local attempts = result.attempts or {}
  local last = attempts[#attempts]
  if not last or last.reason ~= 'not_saved' or type(last.prediction_id) ~= 'string' then return nil end
  local of_steps = record.request and #(cjson.decode(record.request).paid or {}) or 0 -- attempts of the steps before
  local earlier, cost = {}, 0
  for i, attempt in ipairs(attempts) do
    local cost_usd = attempt.cost_usd or result.cost_usd or 0
    if type(cost_usd) == 'number' then cost = cost + math.floor(cost_usd * 1000000 + 0.5) end
    if i > of_steps and i < #attempts then
      earlier[#earlier + 1] = { model = attempt.model or result.model_name, prediction_id = attempt.prediction_id or cjson.null,
        outcome = attempt.outcome or 'succeeded', reason = attempt.reason or cjson.null,
        message = attempt.message or cjson.null, seconds = attempt.seconds or 0, cost_usd = cost_usd }
    end
  end
  local claimed_by = redis.call('GET', key('prediction', last.prediction_id))
  return { attempt = claimed_by and string.match(claimed_by, ':(%d+)$') or whole(#attempts - of_steps),
    model = last.model or result.model_name, prediction = last.prediction_id,
    attempts = #earlier > 0 and cjson.encode(earlier) or '[]', booked = whole(cost), counted = whole(#attempts) }
end

local function clear_settled(id, record)
  local attempts = cjson.decode(record.result).attempts or {}
  if owed_of(record) then attempts[#attempts] = nil end -- its prediction stays its own
  clear(id, attempts)
end

-- Batches that did not have the record made, and need it too: each with the index it has there.
local function followers_of(record) return string.gmatch(record.followers or '', '([^/ ]+)/(%d+)') end

-- One more follower; expired ones are dropped.
local function follow(id, record, batch, index)
  local followers = {}
  for name, at in followers_of(record) do
    if redis.call('EXISTS', key('batch', name)) == 1 then followers[#followers + 1] = name .. '/' .. at .. ' ' end
  end
  redis.call('HSET', record_key(id), 'followers', table.concat(followers) .. batch .. '/' .. index .. ' ')
end

-- Where a settled record is to begin when it is made again: at the step that failed, as what the steps before it have
-- cost is paid. nil where that is the first.
local function from_failed_step(record)
  local cost = record.request and cost_of_steps_made(record.request)
  if not cost then return nil end
  local asked = cjson.decode(record.request)
  return { attempt = '1', model = asked.model, booked = whole(cost), counted = whole(#asked.paid), request = record.request }
end

-- Where a settled record is to go on when it is made again: with the prediction that is paid for and not saved, or at the
-- step that failed. nil where it begins anew.
local function where_to_go_on(record)
  local owed, step = owed_of(record), from_failed_step(record)
  if owed and step then owed.request = step.request end
  return owed or step
end

-- What of it the new record has.
local function go_on_with(id, begun)
  for _, field in ipairs({ 'attempts', 'counted', 'booked', 'prediction' }) do
    if begun[field] then redis.call('HSET', record_key(id), field, begun[field]) end
  end
  if begun.prediction then redis.call('HSET', record_key(id), 'created', whole(now)) end
end

-- Whether a request (JSON text) may go on with another model while its own is out.
local function yields(request)
  return string.find(request, '"on_outage":"fallback"', 1, true) and cjson.decode(request).on_outage == 'fallback'
end

-- Once it may, by what is asked now, a job that waits for its model goes on, too. Returns its request.
local function let_yield(stored, asked)
  if not yields(asked) or yields(stored) then return stored end
  return '{"on_outage":"fallback",' .. string.sub(stored, 2)
end
local function let_yield_on_its_way(id, record, asked)
  if not yields(asked) then return end
  redis.call('HSET', record_key(id), 'request', let_yield(record.request, asked))
  redis.call('SADD', key('yielding'), id)
end

-- The same id is the same job: one that succeeded counts at once, one on its way is followed. One that failed is
-- made again: returns false, and where it is to begin if not at its beginning.
local function join_existing(id, batch, index, request)
  local record = read(id)
  if not record then return false end
  if record.state == 'succeeded' then
    follow(id, record, batch, index)
    redis.call('PERSIST', record_key(id))
    finish_in_batch(batch, index, id, record.state, 0)
    return true
  end
  if record.result then
    local begun = where_to_go_on(record)
    clear_settled(id, record)
    return false, begun
  end
  let_yield_on_its_way(id, record, request)
  redis.call('SADD', key('batch', batch, 'out'), id)
  follow(id, record, batch, index)
  return true
end

-- How far a generation was when it was put back; empty for one that begins, or has been made since.
local function take_begun(batch, id)
  local text = redis.call('HGET', key('batch', batch, 'begun'), id)
  if not text then return {} end
  redis.call('HDEL', key('batch', batch, 'begun'), id)
  return redis.call('EXISTS', record_key(id)) == 0 and cjson.decode(text) or {}
end

-- Moves as many pending requests as may be outstanding into the caller's publishing custody; returns their messages.
-- call.capacity is how many generations the account can make use of at once.
local function top_up(batch)
  local meta = redis.call('HMGET', key('batch', batch), 'max_concurrent', 'held', 'priority', 'budget', 'v')
  if is_of_later_version({ v = meta[5] or nil }) then return {} end
  local pending, out = key('batch', batch, 'pending'), key('batch', batch, 'out')
  local feeding = key('batches', 'feeding')
  if redis.call('LLEN', pending) == 0 or (meta[2] and meta[2] ~= '') then
    redis.call('SREM', feeding, batch)
    return {}
  end
  redis.call('SADD', feeding, batch)
  local share = math.max(1, math.ceil(call.capacity / redis.call('SCARD', feeding)))
  if tonumber(meta[1]) then share = math.min(share, tonumber(meta[1])) end
  local messages, joined = {}, false
  for _ = 1, share - redis.call('SCARD', out) do
    local entry = redis.call('LPOP', pending)
    if not entry then
      redis.call('SREM', feeding, batch)
      break
    end
    local id, index, model, request = unpacked(batch, entry)
    local begun = take_begun(batch, id)
    local is_joined, goes_on = join_existing(id, batch, index, request)
    if is_joined then
      joined = true
    else
      begun = goes_on or begun
      redis.call('HSET', record_key(id), 'v', VERSION, 'state', 'publishing', 'process', call.process, 'fence', whole(now),
        'attempt', begun.attempt or '1', 'model', begun.model or model,
        'request', begun.request and let_yield(begun.request, request) or request, 'batch', batch, 'index', index,
        'priority', meta[3])
      go_on_with(id, begun)
      if meta[4] then redis.call('HSET', record_key(id), 'budget', meta[4]) end
      add_to_custody(id, call.process)
      expect_message(id, meta[3])
      redis.call('SADD', out, id)
      messages[#messages + 1] =
        message(id, { attempt = begun.attempt or '1', model = begun.model or model, priority = meta[3] })
    end
  end
  if joined then expire_if_over(batch) end -- it may have been the last
  return messages
end

