// The reference PDS, and with the first one the PLC directory of all: node atproto.mjs CONFIG.json
import dns from 'node:dns'
import fs from 'node:fs'
import { createRequire, enableCompileCache } from 'node:module'
import path from 'node:path'

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))

// Read when the PDS is imported. Warnings go to standard output, which is our log.
process.env.LOG_ENABLED = 'true'
process.env.LOG_LEVEL = 'warn'

// "localhost" may stand for ::1 first, where nobody listens.
dns.setDefaultResultOrder('ipv4first')

// What the packages are compiled to is kept. (Importing them: 2.7 s, then 2.0.)
enableCompileCache(path.join(config.modules, 'compiled'))

// The packages are installed elsewhere than this file.
const require = createRequire(path.join(config.modules, 'package.json'))
const { PlcServer, Database } = require('@did-plc/server')
const { PDS, envToCfg, envToSecrets } = require('@atproto/pds')

let plc
let pds
let stopping = false
const stop = async () => {
  if (stopping) return
  stopping = true
  // A request that doesn't end holds destroy() up for ever.
  setTimeout(() => process.exit(0), 3000)
  await pds?.destroy()
  await plc?.destroy()
  process.exit(0)
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)

/** Both servers call listen(port), which would be every address of the machine. */
const onLoopback = (server) => {
  const listen = server.app.listen.bind(server.app)
  server.app.listen = (port) => listen(port, config.host)
  return server
}

/** The directory's own database in memory, with every operation kept in a file. */
const openDirectory = async (file) => {
  const db = Database.mock()
  if (fs.existsSync(file)) {
    const known = JSON.parse(fs.readFileSync(file, 'utf8'))
    for (const [did, operations] of Object.entries(known)) {
      for (const { operation, createdAt } of operations) {
        await db.validateAndAddOp(did, operation)
        db.contents[did].at(-1).createdAt = new Date(createdAt)
      }
    }
  }
  const add = db.validateAndAddOp.bind(db)
  db.validateAndAddOp = async (did, proposed) => {
    await add(did, proposed)
    write(file, Object.fromEntries(Object.entries(db.contents).map(([key, operations]) => [
      key, operations.map(({ operation, createdAt }) => ({ operation, createdAt })),
    ])))
  }
  return db
}

/** Written whole or not at all: an identity that is lost can't be made again. */
const write = (file, content) => {
  const temporary = `${file}.tmp`
  const descriptor = fs.openSync(temporary, 'w', 0o600)
  try {
    fs.writeFileSync(descriptor, JSON.stringify(content))
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
  fs.renameSync(temporary, file)
  const folder = fs.openSync(path.dirname(file), 'r')
  fs.fsyncSync(folder)
  fs.closeSync(folder)
}

/** The PDS's address stands in every identity it hosts; the port may be another one today. */
const moveIdentities = async ({ ctx }) => {
  const { publicUrl } = ctx.cfg.service
  const accounts = await ctx.accountManager.db.db.selectFrom('actor').select('did').execute()
  for (const { did } of accounts) {
    const data = await ctx.plcClient.getDocumentData(did).catch(() => null)
    const endpoint = data?.services?.atproto_pds?.endpoint
    if (!endpoint || endpoint === publicUrl) continue
    try {
      await ctx.plcClient.updatePds(did, ctx.plcRotationKey, publicUrl)
      await ctx.idResolver.did.resolve(did, true)
      console.log(`${did} moved from ${endpoint} to ${publicUrl}`)
    } catch (error) {
      // An owner may have taken the PDS's key off the identity; the others shall still work.
      console.error(`${did} stays at ${endpoint}: ${error}`)
    }
  }
}

/** The directory starts with another process, at the same time as this one. */
const waitForDirectory = async () => {
  while (!(await fetch(`http://localhost:${config.plcPort}/_health`).catch(() => null))?.ok) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** No DNS leads to the handles of the other PDSes, so those are asked for them. */
const askOthers = ({ ctx }) => {
  const resolver = ctx.idResolver.handle
  const resolve = resolver.resolve.bind(resolver)
  resolver.resolve = async (handle) => {
    const domain = Object.keys(config.others).find((each) => handle.endsWith(each))
    if (!domain) return resolve(handle)
    const url = `http://localhost:${config.others[domain]}/xrpc/com.atproto.identity.resolveHandle`
    const answer = await fetch(`${url}?handle=${encodeURIComponent(handle)}`)
    return answer.ok ? (await answer.json()).did : undefined
  }
}

if (config.directory) {
  const db = await openDirectory(path.join(config.dir, 'plc.json'))
  plc = onLoopback(PlcServer.create({ db, port: config.plcPort }))
  await plc.start()
} else {
  await waitForDirectory()
}

const env = {
  port: config.port,
  hostname: 'localhost',
  devMode: true,
  inviteRequired: false,
  crawlers: [],
  dataDirectory: config.dir,
  blobstoreDiskLocation: path.join(config.dir, 'blobs'),
  blobUploadLimit: config.blobLimit,
  // The PDS refuses an IP address here.
  didPlcUrl: `http://localhost:${config.plcPort}`,
  serviceHandleDomains: [config.handleDomain],
  enableDidDocWithSession: true,
  rateLimitsEnabled: config.rateLimits,
  ...config.secrets,
}
pds = onLoopback(await PDS.create(envToCfg(env), envToSecrets(env)))
// Before it listens, so that nobody meets an identity with the old address.
await moveIdentities(pds)
askOthers(pds)
await pds.start()
console.log(`PDS at port ${config.port}, PLC at port ${config.plcPort}`)
