-- pandoc markdown → typst: what the book's own constructs become.
--
-- The text this writes is markup that calls functions of the template (book.typ), so
-- that one text serves the topic's PDF and the book. Formulas leave as their TeX between
-- two private characters; Python (literate.formula) converts them.

local prefix = ""
local titles = {} -- id of a heading or an exercise → its title, as inlines
local headings = {} -- ids that a heading carries
local solved = {} -- ids of exercises that have a solution
local begun = {} -- those whose solution has its heading already
local solutions = pandoc.List()

local CHARACTERS_A_LINE = 92 -- of table text on the page's measure
local GAP = 3 -- between two columns, in characters
local FORMULA = 22 -- characters of a formula that a table's column does not break
local SMALL_TABLE = 8 -- rows that are kept together
local SHORT = 700 -- characters of a box that is kept together

-- Signs of a formula behind which a line can end.
local SIGNS = {}
for name in ("approx cdot equiv ge geq gt in le leq lt mid ne neq odot propto quad"
  .. " sim subset times to"):gmatch("%a+") do
  SIGNS[name] = true
end

local function typ(text)
  return pandoc.RawInline("typst", text)
end

local function block(text)
  return pandoc.RawBlock("typst", text)
end

local function quote(text)
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("%s+", " ") .. '"'
end

local function label(id)
  return "<" .. prefix .. "--" .. id .. ">"
end

-- A call with content: `#name(arguments)[content];`
local function call(head, content)
  local out = pandoc.List({ typ("#" .. head .. "[") })
  out:extend(content)
  out:insert(typ("];"))
  return out
end

local function enclose(head, blocks)
  local out = pandoc.List({ block("#" .. head .. "[") })
  out:extend(blocks)
  out:insert(block("]"))
  return out
end

function Math(el)
  local kind = el.mathtype == "DisplayMath" and "d" or "i"
  return typ("\u{E000}" .. kind .. el.text:gsub("%s+", " ") .. "\u{E001}")
end

function Cite(el)
  local out = pandoc.List()
  for _, citation in ipairs(el.citations) do
    if #citation.prefix > 0 then
      out:extend(citation.prefix)
      out:insert(pandoc.Space())
    end
    local form = citation.mode == "AuthorInText" and ', form: "prose"' or ""
    local head = "#cite(label(" .. quote(citation.id) .. ")" .. form
    if #citation.suffix == 0 then
      out:insert(typ(head .. ");"))
    else
      local suffix = citation.suffix
      local first = suffix[1]
      if first.t == "Str" then
        first.text = first.text:gsub("^,%s*", "")
      end
      while #suffix > 0 and (suffix[1].t == "Space" or suffix[1].text == "") do
        suffix:remove(1)
      end
      out:insert(typ(head .. ", supplement: ["))
      out:extend(suffix)
      out:insert(typ("]);"))
    end
  end
  return out
end

function Link(el)
  local id = el.target:match("^#(.+)")
  if id then
    return call("link(" .. label(id) .. ")", el.content)
  elseif el.target:match("^mailto:") then
    return el.content -- "pass@1" is no address
  elseif el.target:match("^%a[%w+.-]*:") then
    return call("link(" .. quote(el.target) .. ")", el.content)
  end
  return el.content -- a file has no meaning on paper
end

function Span(el)
  if el.classes:includes("figref") then
    return typ("#figref(" .. label(el.attributes.target) .. ");")
  elseif el.classes:includes("xref") then
    local slug = el.attributes.slug or ""
    local id = el.attributes.topic:gsub("/", "-")
    return call("xref(<" .. id .. (slug ~= "" and "--" .. slug or "") .. ">)", el.content)
  end
  return el.content
end

function Image(el)
  error("an image outside of a figure: " .. el.src)
end

function HorizontalRule()
  return {}
end

function CodeBlock(el)
  -- Only the first class is the language; attributes mean nothing on paper.
  return pandoc.CodeBlock(el.text, pandoc.Attr("", { el.classes[1] }))
end

-- The chapter's heading carries the label that links to the whole topic use.
function Header(el)
  local id = el.identifier
  el.identifier = ""
  if solved[id] then
    el.content:insert(typ("#to-solution(" .. label(id .. "--solution") .. ");"))
  end
  if el.level == 1 then
    local out = pandoc.List({ el, block("<" .. prefix .. ">") })
    if id ~= "" then
      out:insert(block("#metadata(none)" .. label(id)))
    end
    return out
  end
  return id == "" and el or { el, block(label(id)) }
end

-- ---- divs

local divs = {}

function divs.figure(el)
  local image = "image(" .. quote("/" .. el.attributes.file)
    .. ", alt: " .. quote(el.attributes.alt or "") .. ")"
  local out = enclose("figure(" .. image .. ", caption: ", el.content)
  out[1].text = "#figure(" .. image .. ", caption: ["
  out[#out].text = "]) " .. label(el.identifier)
  return out
end

local function breakable(el)
  return #pandoc.utils.stringify(el) > SHORT and "true" or "false"
end

function divs.callout(el)
  local kind = quote(el.attributes.kind)
  return enclose("callout(" .. kind .. ", breakable: " .. breakable(el) .. ")", el.content)
end

function divs.meaning(el)
  return enclose("meaning(breakable: " .. breakable(el) .. ")", el.content)
end

function divs.front(el)
  return enclose("front", el.content)
end

function divs.exercise(el)
  if headings[el.identifier] then
    return el.content
  end
  local out = pandoc.List({ block("#metadata(none)" .. label(el.identifier)) })
  out:extend(el.content)
  return out
end

-- A solution goes to the back. Several of one exercise, in words and in code, share a
-- heading. The exercise's own heading links to it; without one a link stays here.
function divs.solution(el)
  local id = el.attributes.exercise
  local first = not begun[id]
  if first then
    begun[id] = true
    solutions:insert(pandoc.Plain(call(
      "solution-head(" .. label(id) .. ", " .. label(id .. "--solution") .. ")",
      titles[id] or { pandoc.Str("Exercise") }
    )))
  end
  solutions:extend(el.content)
  if headings[id] or not first then
    return {}
  end
  return block("#align(right, to-solution(" .. label(id .. "--solution") .. "))")
end

function Div(el)
  for class, convert in pairs(divs) do
    if el.classes:includes(class) then
      return convert(el)
    end
  end
  return el.content
end

-- ---- tables

-- Characters that the inlines take on paper, about; formulas are shorter than their TeX.
local function width_of(blocks)
  local width, longest = 0, 0
  pandoc.walk_block(pandoc.Div(blocks), {
    Str = function(el)
      local n = utf8.len(el.text) or #el.text
      width = width + n
      longest = math.max(longest, n)
    end,
    Space = function() width = width + 1 end,
    SoftBreak = function() width = width + 1 end,
    Code = function(el)
      width = width + 1.1 * #el.text
      for word in el.text:gmatch("[^%s_.,=(%[]+[_.,=(%[]*") do
        longest = math.max(longest, 1.1 * #word)
      end
    end,
    RawInline = function(el)
      local tex = el.text:match("^\u{E000}.(.*)\u{E001}$")
      if tex then
        local shown = tex:gsub("\\(%a+)", function(name)
          return SIGNS[name] and "=" or name:match("^text") and "" or "x"
        end):gsub("[{}_^%s\\]", "")
        width = width + 0.9 * #shown
        -- A line can end at a sign, but a formula of moderate length stays whole.
        longest = math.max(longest, math.min(0.9 * #shown, FORMULA) + 1)
        for chunk in shown:gmatch("[^=+<>-]+") do
          longest = math.max(longest, 0.9 * #chunk + 1)
        end
      end
    end,
  })
  return width, longest
end

-- Widths only for tables that are wider than the page. A column gets its share after
-- the square root of its longest cell, but no more than it needs and, if it can be, no
-- less than its longest word; what one leaves is for the others.
local function weigh(columns)
  local total = 0
  for _, column in ipairs(columns) do
    column.width = column.width + GAP
    column.longest = column.longest + GAP
    column.share = nil
    total = total + column.width
  end
  if total <= CHARACTERS_A_LINE then
    return nil
  end
  local left, again = CHARACTERS_A_LINE, true
  while again do
    again = false
    local weights = 0
    for _, column in ipairs(columns) do
      weights = weights + (column.share and 0 or math.sqrt(column.width))
    end
    for _, column in ipairs(columns) do
      if not column.share then
        local share = left * math.sqrt(column.width) / weights
        local bound = math.max(math.min(share, column.width), column.longest)
        if bound ~= share then
          column.share, left, again = bound, left - bound, true
          break
        end
        column.wish = share
      end
    end
  end
  local sum = 0
  for _, column in ipairs(columns) do
    column.share = math.max(column.share or column.wish, GAP)
    sum = sum + column.share
  end
  return columns:map(function(column) return column.share / sum end)
end

function Table(el)
  local columns = pandoc.List()
  for n = 1, #el.colspecs do
    columns[n] = { width = 1, longest = 1 }
  end
  local rows = pandoc.List()
  rows:extend(el.head.rows)
  for _, body in ipairs(el.bodies) do
    rows:extend(body.body)
  end
  for _, row in ipairs(rows) do
    for n, cell in ipairs(row.cells) do
      local width, longest = width_of(cell.contents)
      columns[n].width = math.max(columns[n].width, width)
      columns[n].longest = math.max(columns[n].longest, longest)
    end
  end
  local widths = weigh(columns)
  for n, spec in ipairs(el.colspecs) do
    local side = spec[1] == "AlignDefault" and "AlignLeft" or spec[1]
    el.colspecs[n] = { side, widths and widths[n] or nil }
  end
  local small = #rows <= SMALL_TABLE and "true" or "false"
  local wide = widths and "true" or "false"
  return enclose("tabular(small: " .. small .. ", wide: " .. wide .. ")", { el })
end

-- ---- the document

-- The titles of the exercises, for their solutions; before anything is converted.
local function collect(doc)
  prefix = pandoc.utils.stringify(doc.meta.prefix or "")
  doc:walk({
    Header = function(el)
      titles[el.identifier] = el.content
      headings[el.identifier] = true
    end,
  })
  doc:walk({
    Div = function(el)
      local first = el.content[1]
      if el.classes:includes("exercise") and first and first.t == "Header" then
        titles[el.identifier] = first.content
      elseif el.classes:includes("solution") then
        solved[el.attributes.exercise] = true
      end
    end,
  })
end

local convert = {
  Math = Math, Cite = Cite, Link = Link, Span = Span, Image = Image,
  HorizontalRule = HorizontalRule, CodeBlock = CodeBlock, Header = Header,
  Div = Div, Table = Table,
}

function Pandoc(doc)
  collect(doc)
  -- Titles are set twice, so they are converted before they are handed out.
  for id, title in pairs(titles) do
    titles[id] = pandoc.Inlines(title):walk(convert)
  end
  local blocks = doc.blocks:walk(convert)
  blocks:insert(block("\u{E002}"))
  blocks:extend(solutions)
  return pandoc.Pandoc(blocks)
end

return { { Pandoc = Pandoc } }
