/* Makes again the RSA keys that Debian's OpenSSL 0.9.8c-1 … 0.9.8g-8 could make (CVE-2008-0166), and prints the
 * SHA-1 of each modulus as `openssl rsa -noout -modulus` writes it.
 *
 * Nothing but the process number, the word size and the byte order ever reached that generator's pool, so that
 * following its bookkeeping is enough: no old binary is run. What is followed here, step by step, is which octets
 * are hashed, how counters and pool indexes move, and how many octets each attempt at a prime consumes.
 *
 *   cc -O2 -o generate generate.c -lgmp -lcrypto
 *   ./generate BITS FIRST_PID LAST_PID        e.g. 2048 1 32767; FLAVOURS below are printed for each process number
 */
#include <gmp.h>
#include <openssl/bn.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL 1023
#define DIGEST 20
#define HALF (DIGEST / 2)
#define SIEVE_PRIMES 2048

/* What was there at start-up: a readable ~/.rnd, none, or one that could not be read. */
enum seed_file { RND, NORND, NOREADRND };

struct flavour {
    const char *name;
    int word;       /* sizeof(long) == sizeof(time_t) */
    int stat_size;  /* sizeof(struct stat) */
    int big_endian;
};

static const struct flavour FLAVOURS[] = {{"le32", 4, 88, 0}, {"le64", 8, 144, 0}, {"be32", 4, 88, 1}};

struct generator {
    struct flavour machine;
    unsigned pid;
    unsigned char pool[POOL];
    int pool_size, pool_index;
    unsigned char md[DIGEST];
    unsigned long count[2];
    int polled, stirred;
};

static int put_integer(unsigned char *out, unsigned long value, int size, int big_endian)
{
    for (int i = 0; i < size; i++)
        out[big_endian ? size - 1 - i : i] = (unsigned char)(value >> (8 * i));
    return size;
}

static void hash_counts(SHA_CTX *sha, const struct generator *g, unsigned long first, unsigned long second)
{
    unsigned char octets[16];
    int size = put_integer(octets, first, g->machine.word, g->machine.big_endian);
    size += put_integer(octets + size, second, g->machine.word, g->machine.big_endian);
    SHA1_Update(sha, octets, size);
}

static void hash_pool(SHA_CTX *sha, const struct generator *g, int index, int size, int limit)
{
    int first = index + size > limit ? limit - index : size;
    SHA1_Update(sha, g->pool + index, first);
    SHA1_Update(sha, g->pool, size - first);
}

/* RAND_add: `size` octets that, thanks to the missing line, are never looked at. */
static void add(struct generator *g, int size)
{
    unsigned char local[DIGEST];
    unsigned long second = g->count[1];
    int index = g->pool_index;

    memcpy(local, g->md, DIGEST);
    g->pool_index += size;
    if (g->pool_index >= POOL) {
        g->pool_index %= POOL;
        g->pool_size = POOL;
    } else if (g->pool_index > g->pool_size) {
        g->pool_size = g->pool_index;
    }
    g->count[1] += (size + DIGEST - 1) / DIGEST;
    for (int done = 0; done < size; done += DIGEST) {
        int part = size - done > DIGEST ? DIGEST : size - done;
        SHA_CTX sha;
        SHA1_Init(&sha);
        SHA1_Update(&sha, local, DIGEST);
        hash_pool(&sha, g, index, part, POOL);
        hash_counts(&sha, g, g->count[0], second++);
        SHA1_Final(local, &sha);
        for (int i = 0; i < part; i++) {
            g->pool[index] ^= local[i];
            index = (index + 1) % POOL;
        }
    }
    for (int i = 0; i < DIGEST; i++)
        g->md[i] ^= local[i];
}

/* RAND_poll: 32 octets of /dev/urandom, process, user and time, of which only the sizes count. */
static void poll_system(struct generator *g)
{
    add(g, 32);
    for (int i = 0; i < 3; i++)
        add(g, g->machine.word);
    g->polled = 1;
}

static void take(struct generator *g, unsigned char *out, int size)
{
    unsigned char local[DIGEST], pid[4];
    unsigned long first, second;
    int index, limit, rounded = (size + HALF - 1) / HALF * HALF;
    SHA_CTX sha;

    if (!g->polled)
        poll_system(g);
    if (!g->stirred)
        for (int rest = POOL; rest > 0; rest -= DIGEST)
            add(g, DIGEST);
    g->stirred = 1;
    index = g->pool_index;
    limit = g->pool_size;
    first = g->count[0];
    second = g->count[1];
    memcpy(local, g->md, DIGEST);
    g->pool_index += rounded;
    if (g->pool_index > g->pool_size)
        g->pool_index %= g->pool_size;
    g->count[0]++;
    for (int done = 0; done < size; done += HALF) {
        SHA1_Init(&sha);
        if (done == 0) {
            put_integer(pid, g->pid, 4, g->machine.big_endian);
            SHA1_Update(&sha, pid, 4);
        }
        SHA1_Update(&sha, local, DIGEST);
        hash_counts(&sha, g, first, second);
        hash_pool(&sha, g, index, HALF, limit);
        SHA1_Final(local, &sha);
        for (int i = 0; i < HALF; i++) {
            g->pool[index++] ^= local[i];
            if (index >= limit)
                index = 0;
            if (done + i < size)
                out[done + i] = local[HALF + i];
        }
    }
    SHA1_Init(&sha);
    hash_counts(&sha, g, first, second);
    SHA1_Update(&sha, local, DIGEST);
    SHA1_Update(&sha, g->md, DIGEST);
    SHA1_Final(g->md, &sha);
}

/* `genrsa` before it makes the key. */
static void start(struct generator *g, const struct flavour *machine, enum seed_file seed, unsigned pid)
{
    memset(g, 0, sizeof *g);
    g->machine = *machine;
    g->pid = pid;
    if (seed != NORND)
        add(g, machine->stat_size);
    if (seed == RND)
        add(g, 1024);
    else
        poll_system(g);
}

/* BN_rand: the time is stirred in, then `bits` (a multiple of 8) are taken. */
static void random_number(struct generator *g, mpz_t number, int bits)
{
    unsigned char octets[1024];
    add(g, g->machine.word);
    take(g, octets, bits / 8);
    mpz_import(number, bits / 8, 1, 1, 1, 0, octets);
}

static unsigned sieve[SIEVE_PRIMES];

/* Runs of primes whose product fits one word: one long division serves them all. */
static struct run {
    unsigned long product;
    int first, last;
} runs[SIEVE_PRIMES];
static int run_count;

static void fill_sieve(void)
{
    int found = 0;
    for (unsigned n = 2; found < SIEVE_PRIMES; n++) {
        int i = 0;
        while (i < found && sieve[i] * sieve[i] <= n && n % sieve[i])
            i++;
        if (i == found || sieve[i] * sieve[i] > n)
            sieve[found++] = n;
    }
    for (int i = 1; i < SIEVE_PRIMES; run_count++) {
        struct run *run = &runs[run_count];
        run->product = 1;
        run->first = i;
        while (i < SIEVE_PRIMES && run->product < ~0UL / sieve[i])
            run->product *= sieve[i++];
        run->last = i;
    }
}

/* The next odd number at which neither it nor its predecessor has a small odd factor. */
static void next_candidate(mpz_t number)
{
    unsigned rest[SIEVE_PRIMES];
    unsigned long delta = 0;
    for (int r = 0; r < run_count; r++) {
        unsigned long residue = mpz_fdiv_ui(number, runs[r].product);
        for (int i = runs[r].first; i < runs[r].last; i++)
            rest[i] = (unsigned)(residue % sieve[i]);
    }
    for (int i = 1; i < SIEVE_PRIMES; i++)
        if ((rest[i] + delta) % sieve[i] <= 1) {
            delta += 2;
            i = 0;
        }
    mpz_add_ui(number, number, delta);
}

/* Fermat to the base -2, which is as long as the modulus: that is what OpenSSL's fastest code asks for. */
static int is_probable_prime(const mpz_t number)
{
    static BN_CTX *context;
    static BIGNUM *base, *modulus, *exponent, *power;
    unsigned char octets[1024];
    size_t size;
    BN_MONT_CTX *montgomery = BN_MONT_CTX_new();

    if (!context) {
        context = BN_CTX_new();
        base = BN_new();
        modulus = BN_new();
        exponent = BN_new();
        power = BN_new();
    }
    mpz_export(octets, &size, 1, 1, 1, 0, number);
    BN_bin2bn(octets, (int)size, modulus);
    BN_copy(exponent, modulus);
    BN_sub_word(exponent, 1);
    BN_copy(base, modulus);
    BN_sub_word(base, 2);
    if (!BN_MONT_CTX_set(montgomery, modulus, context)
        || !BN_mod_exp_mont_consttime(power, base, exponent, modulus, context, montgomery))
        abort();
    BN_MONT_CTX_free(montgomery);
    return BN_is_one(power);
}

/* One base decides (a random composite of this size passes with negligible chance); what the rounds of Miller-Rabin
 * would have taken from the generator is taken: one base for a composite, `rounds` for a prime. */
static int is_prime(struct generator *g, const mpz_t number, int bits, int rounds)
{
    mpz_t limit, base;
    int prime = is_probable_prime(number);
    mpz_inits(limit, base, NULL);
    mpz_sub_ui(limit, number, 1);
    for (int round = 0; round < (prime ? rounds : 1); round++)
        do
            random_number(g, base, bits);
        while (mpz_cmp(base, limit) >= 0);
    mpz_clears(limit, base, NULL);
    return prime;
}

static void make_prime(struct generator *g, mpz_t prime, int bits)
{
    int rounds = bits >= 1300 ? 2 : bits >= 850 ? 3 : bits >= 650 ? 4 : bits >= 550 ? 5 : 6;
    do {
        do {
            random_number(g, prime, bits);
            mpz_setbit(prime, bits - 1);
            mpz_setbit(prime, bits - 2);
            mpz_setbit(prime, 0);
            next_candidate(prime);
        } while (!is_prime(g, prime, bits, rounds));
    } while (mpz_fdiv_ui(prime, 65537) == 1);
}

static void print_modulus(const mpz_t modulus)
{
    char text[8192];
    unsigned char digest[DIGEST];
    int size = gmp_snprintf(text, sizeof text, "Modulus=%ZX\n", modulus);
    SHA1((unsigned char *)text, size, digest);
    for (int i = 0; i < DIGEST; i++)
        printf("%02x", digest[i]);
    putchar('\n');
}

int main(int argc, char **argv)
{
    static struct generator g;
    mpz_t p, q, n;
    if (argc != 4) {
        fprintf(stderr, "usage: %s BITS FIRST_PID LAST_PID\n", argv[0]);
        return 64;
    }
    int bits = atoi(argv[1]);
    fill_sieve();
    mpz_inits(p, q, n, NULL);
    for (unsigned pid = atoi(argv[2]); pid <= (unsigned)atoi(argv[3]); pid++)
        for (int machine = 0; machine < 3; machine++)
            for (int seed = RND; seed <= NOREADRND; seed++) {
                start(&g, &FLAVOURS[machine], (enum seed_file)seed, pid);
                make_prime(&g, p, bits / 2);
                make_prime(&g, q, bits / 2);
                mpz_mul(n, p, q);
                print_modulus(n);
            }
    return 0;
}
