-- Stores rows that win over what is stored, each in the hash of its entity.
-- KEYS: the entities' hashes. ARGV: win ('newest', 'equal' or 'always'), field, then per key its row and when it may
-- expire, in milliseconds since 1970 (0: never). Returns written, not written, then the positions of keys that are no
-- hashes.
--
-- Lua's < on strings follows the server's locale, so rows are compared as numbers.

local win, field = ARGV[1], ARGV[2]
local call, pcall = redis.call, redis.pcall
local unpack, byte, sub = struct.unpack, string.byte, string.sub

-- greater reports whether row a is above row b, both less their checksums of 2 bytes. Where these alone differ the
-- stored row b is damaged, and a heals it.
local function greater(a, b)
  local an, bn = #a - 2, #b - 2
  local n = an < bn and an or bn
  local i = 1
  while i + 7 <= n do
    local a1, a2 = unpack('>I4I4', a, i)
    local b1, b2 = unpack('>I4I4', b, i)
    if a1 ~= b1 then return a1 > b1 end
    if a2 ~= b2 then return a2 > b2 end
    i = i + 8
  end
  while i <= n do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x > y end
    i = i + 1
  end
  return an >= bn
end

-- timeEnd returns where the time that begins at i ends: 3 bytes of microseconds follow the first 5 if that is odd.
local function timeEnd(s, i)
  return i + 4 + 3 * ((byte(s, i + 4) or 0) % 2)
end

local function sameTimes(a, b)
  local n = timeEnd(a, 1) + 1
  if byte(a, n) ~= 0 then n = timeEnd(a, n) end
  return sub(a, 1, n) == sub(b, 1, n)
end

local shortest = 9 -- bytes of a row; what is shorter loses to any

local clock = call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000

-- keep makes the hash live until its rows may go: as long as the longest of them. before is its PTTL before the write.
local function keep(key, before, expire)
  if before == -1 then return end
  if expire == 0 then
    if before ~= -2 then call('PERSIST', key) end
  elseif before == -2 or expire > now + before then
    call('PEXPIREAT', key, string.format('%.0f', expire))
  end
end

local result = {0, 0}
for i, key in ipairs(KEYS) do
  local row, expire = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
  local stored = pcall('HGET', key, field)
  if type(stored) == 'table' then
    result[#result + 1] = i
  else
    local same = stored == row
    if not stored or #stored < shortest or win == 'always' or not same and
        (greater(row, stored) or win == 'equal' and sameTimes(row, stored)) then
      local before = call('PTTL', key)
      call('HSET', key, field, row)
      keep(key, before, expire)
      result[1] = result[1] + 1
    else
      if same then keep(key, call('PTTL', key), expire) end
      result[2] = result[2] + 1
    end
  end
end
return result
