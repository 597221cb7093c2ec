/** Made by scripts/client/generate from the tenant's /openapi.json: change that, and make it anew. */
export interface paths {
  '/compute': {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    get?: never
    put?: never
    /** Runs a program over a directory of the mount; its result is the answer */
    post: operations['compute']
    delete?: never
    options?: never
    head?: never
    patch?: never
    trace?: never
  }
  '/events': {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    /** What happens to this tenant's grants, as server-sent events */
    get: operations['events']
    put?: never
    post?: never
    delete?: never
    options?: never
    head?: never
    patch?: never
    trace?: never
  }
  '/grants': {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    /** What is mounted for this tenant */
    get: operations['listGrants']
    put?: never
    post?: never
    delete?: never
    options?: never
    head?: never
    patch?: never
    trace?: never
  }
  '/mount': {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    get?: never
    put?: never
    /** Makes a volume appear in the mount; done when it is seen there */
    post: operations['mount']
    delete?: never
    options?: never
    head?: never
    patch?: never
    trace?: never
  }
  '/unmount': {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    get?: never
    put?: never
    /** Takes it away: waits while it is in use, or takes open files along */
    post: operations['unmount']
    delete?: never
    options?: never
    head?: never
    patch?: never
    trace?: never
  }
  '/volumes': {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    /** The volumes that this tenant may know of, and whether it may mount them */
    get: operations['listVolumes']
    put?: never
    post?: never
    delete?: never
    options?: never
    head?: never
    patch?: never
    trace?: never
  }
}
export type webhooks = Record<string, never>
export interface components {
  schemas: never
  responses: never
  parameters: never
  requestBodies: never
  headers: never
  pathItems: never
}
export type $defs = Record<string, never>
export interface operations {
  compute: {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    requestBody: {
      content: {
        'application/json': {
          directory: string
          /** @description JSON; the program sees it as the constant `params`. */
          params?: unknown
          program: string
          /** @description Which one, if it emits several. */
          result?: string
        }
      }
    }
    responses: {
      /** @description A problem */
      '4XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description A problem */
      '5XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description The bytes of the result, with an ETag. */
      200: {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/json': unknown
        }
      }
      /** @description The result is what If-None-Match names. */
      304: {
        headers: {
          [name: string]: unknown
        }
        content?: never
      }
    }
  }
  events: {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    requestBody?: never
    responses: {
      /** @description A problem */
      '4XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description A problem */
      '5XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description text/event-stream */
      200: {
        headers: {
          [name: string]: unknown
        }
        content: {
          'text/event-stream': string
        }
      }
    }
  }
  listGrants: {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    requestBody?: never
    responses: {
      /** @description A problem */
      '4XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description A problem */
      '5XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/json': {
            grants: {
              at: string
              compute: boolean
              /** Format: date-time */
              createdAt: string
              /** Format: date-time */
              expiresAt?: string
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              id: string
              /** @description There, and not in the tenant's mount. */
              inside?: {
                container?: string
                pid: number
                target: string
              }
              mode: 'ro' | 'rw'
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              policy: string
              quotaBytes?: number
              reason?: string
              revocable: boolean
              state: 'preparing' | 'active' | 'revoking' | 'unavailable' | 'drifted'
              subpath: string
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              tenant: string
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              volume: string
            }[]
          }
        }
      }
    }
  }
  mount: {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    requestBody: {
      content: {
        'application/json': {
          /** @description Relative to the tenant's mount. */
          at: string
          /** @description Programs may run in it. */
          compute?: boolean
          /** @description Explain the choice; change nothing. */
          dryRun?: boolean
          mode?: 'ro' | 'rw'
          quotaBytes?: number
          /** @description Instead of `volume`: what it should be like. */
          select?: {
            /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
            class?: string
            labels?: {
              [key: string]: string
            }
            minFreeBytes?: number
          }
          subpath?: string
          /** @description Seconds. */
          ttl?: number
          /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
          volume?: string
        }
      }
    }
    responses: {
      /** @description A problem */
      '4XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description A problem */
      '5XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/json': {
            /** Format: date-time */
            expiresAt?: string
            explanations: {
              declaredP99Us?: number
              measuredP99Us?: number
              /** @description A second, in the last minute, of all tenants. */
              operations: number
              refusal?: {
                code: string
                reason: string
              }
              score?: {
                load: number
                locality: number
                serviceLevel: number
                space: number
                total: number
              }
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              volume: string
            }[]
            /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
            policy?: string
            quotaBytes?: number
            refusal?: {
              code: string
              reason: string
            }
            revocable?: boolean
            /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
            volume?: string
          }
        }
      }
      /** @description Default Response */
      201: {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/json': {
            at: string
            compute: boolean
            /** Format: date-time */
            createdAt: string
            /** Format: date-time */
            expiresAt?: string
            /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
            id: string
            /** @description There, and not in the tenant's mount. */
            inside?: {
              container?: string
              pid: number
              target: string
            }
            mode: 'ro' | 'rw'
            /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
            policy: string
            quotaBytes?: number
            reason?: string
            revocable: boolean
            state: 'preparing' | 'active' | 'revoking' | 'unavailable' | 'drifted'
            subpath: string
            /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
            tenant: string
            /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
            volume: string
          }
        }
      }
    }
  }
  unmount: {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    requestBody: {
      content: {
        'application/json': {
          at?: string
          /** @description Open files get ESTALE. */
          force?: boolean
          /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
          grant?: string
          waitMs?: number
        }
      }
    }
    responses: {
      /** @description A problem */
      '4XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description A problem */
      '5XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description Empty when nothing was there: that is what was asked for. */
      200: {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/json': {
            unmounted?: {
              at: string
              compute: boolean
              /** Format: date-time */
              createdAt: string
              /** Format: date-time */
              expiresAt?: string
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              id: string
              /** @description There, and not in the tenant's mount. */
              inside?: {
                container?: string
                pid: number
                target: string
              }
              mode: 'ro' | 'rw'
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              policy: string
              quotaBytes?: number
              reason?: string
              revocable: boolean
              state: 'preparing' | 'active' | 'revoking' | 'unavailable' | 'drifted'
              subpath: string
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              tenant: string
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              volume: string
            }
          }
        }
      }
    }
  }
  listVolumes: {
    parameters: {
      query?: never
      header?: never
      path?: never
      cookie?: never
    }
    requestBody?: never
    responses: {
      /** @description A problem */
      '4XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description A problem */
      '5XX': {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/problem+json': {
            code: string
            detail: string
            status: number
            title: string
            type: string
          } & {
            [key: string]: unknown
          }
        }
      }
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown
        }
        content: {
          'application/json': {
            volumes: {
              class: {
                durability?: 'none' | 'single' | 'replicated'
                latencyP99Us?: number
                locality?: string
                /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
                name: string
                throughputMiBps?: number
              }
              draining: boolean
              freeBytes: number
              healthy: boolean
              labels: {
                [key: string]: string
              }
              modes: ('ro' | 'rw')[]
              /** @description Letters, digits, ".", "_", "-"; begins with a letter or digit. */
              name: string
              ro:
                | 'allowed'
                | {
                    code: string
                    reason: string
                  }
              rw:
                | 'allowed'
                | {
                    code: string
                    reason: string
                  }
              totalBytes: number
            }[]
          }
        }
      }
    }
  }
}

export const OPERATIONS = {
  compute: { method: 'POST', path: '/compute' },
  events: { method: 'GET', path: '/events' },
  listGrants: { method: 'GET', path: '/grants' },
  listVolumes: { method: 'GET', path: '/volumes' },
  mount: { method: 'POST', path: '/mount' },
  unmount: { method: 'POST', path: '/unmount' },
} as const satisfies Record<keyof operations, { readonly method: string; readonly path: string }>
