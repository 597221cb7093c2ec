/**
 * Joins two tables, as SQL's left join: every row of orders.csv with the row of customers.csv whose
 * `id` is the order's `customer`. Quoted fields, also with commas, quotes and line ends, are read
 * and written as RFC 4180 has them.
 */
export default function (dir) {
  const customers = new Map()
  for (const row of rows(dir.file('customers.csv'))) customers.set(row.id, row)
  emit('joined.csv', join(dir.file('orders.csv'), customers))
}

function* join(orders, customers) {
  const { id: _, ...columns } = customers.values().next().value ?? {}
  let header
  for (const order of rows(orders)) {
    if (header === undefined) {
      header = [...Object.keys(order), ...Object.keys(columns)]
      yield line(header)
    }
    const row = { ...customers.get(order.customer), ...order }
    yield line(header.map((name) => row[name] ?? ''))
  }
}

const line = (fields) =>
  fields.map((f) => (/[",\n]/.test(f) ? `"${f.replaceAll('"', '""')}"` : f)).join(',') + '\n'

function* rows(file) {
  let names
  for (const fields of records(file)) {
    if (names === undefined) names = fields
    else yield Object.fromEntries(names.map((name, i) => [name, fields[i] ?? '']))
  }
}

function* records(file) {
  let open = ''
  for (const text of file.lines()) {
    open += text
    // An odd number of quotes: the record goes on in the next line.
    if ((open.match(/"/g)?.length ?? 0) % 2 === 1) {
      open += '\n'
      continue
    }
    const fields = open.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)
    yield [...fields].slice(0, commas(open) + 1).map(([, f]) => unquoted(f))
    open = ''
  }
}

const commas = (text) => (text.replace(/"(?:[^"]|"")*"/g, '').match(/,/g) ?? []).length
const unquoted = (field) => (field[0] === '"' ? field.slice(1, -1).replaceAll('""', '"') : field)
