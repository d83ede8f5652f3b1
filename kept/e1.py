import sys; sys.path.insert(0,'/tmp/adapt')
from exp import *
from combiner_cli.priors import library
import glob
sys.path.insert(0,'/work/main/benchmarks')
import drawings
prior=library.find(sys.argv[1]); level=int(sys.argv[2])
def fit(nets, which, steps=40, lr=0.01, classmeans=True):
    ps={k:{n:q.clone().requires_grad_(True) for n,q in net.params().items() if n in which} for k,net in nets.items()}
    full={k:net.params() for k,net in nets.items()}
    opt=torch.optim.Adam([q for p in ps.values() for q in p.values()],lr=lr)
    def total():
        e=0;c=0;perk={}
        for k,net in nets.items():
            p={n:full[k][n] for n in("b1","b2","b3")}|ps[k]
            a,b=net.cost(p,classmeans=classmeans); perk[k]=float(a); e=e+a;c=c+b
        return e,c,perk
    with torch.no_grad(): e0,c0,k0=total()
    for _ in range(steps):
        opt.zero_grad(); e,c,_k=total(); (e+c).backward(); opt.step()
    with torch.no_grad(): e1,c1,k1=total()
    return float(e0),float(e1),float(c0),float(c1),{k:k0[k]-k1[k] for k in k0},sum(q.numel() for p in ps.values() for q in p.values())
pics={}
for f in sorted(glob.glob('/work/shared/data/photos/val/*'))[:6:2]:
    pics[f.split('/')[-1][:12]]=np.asarray(Image.open(f).convert('RGB'))[128:384,128:384]
import glob as g2
fonts=[__import__('pathlib').Path(p) for p in g2.glob('/work/main/.venv/lib/python3.11/site-packages/matplotlib/mpl-data/fonts/ttf/*.ttf')]
txt=open('/work/main/README.md').read(); code=open('/work/main/combiner_cli/stages/moments.py').read()
mat=drawings.Materials(fonts,[txt],[code],[])
for name in ("text","diagram"):
    r=np.random.default_rng(3); a=np.asarray(getattr(drawings,name)(r,mat).convert("RGB")); pics[name]=a[:256,:256]
for name,a in pics.items():
    t=time.time(); sim,nets=record(prior,a,level); tr=time.time()-t
    real=sim.cost(level); print(name,a.shape,"sim bits %.0f cls %.0f err %.0f record %.2fs"%(real.bits,real.class_bits,sim.worth(level),tr),flush=True)
    for which in (("b1",),("b2",),("b3",),("b1","b2","b3"),("g1",),("g2",),("b1","b2","b3","g1","g2"),("w3",),("lin",),("lin","b1","b2","b3")):
        t=time.time(); e0,e1,c0,c1,ks,n=fit(nets,which); dt=time.time()-t
        print("  %-22s n=%6d  %.0f -> %.0f  %.2f %%  classmeans %.2f %%  %.1fs"%("+".join(which),n,e0,e1,100*(e1/e0-1),100*(c1/c0-1),dt),flush=True)
    e0,e1,c0,c1,ks,n=fit(nets,("b1","b2","b3"),classmeans=False); print("  without class means %.2f %%"%(100*(e1/e0-1)))
    print("   ",{f"{k[0]}.{k[1]}":round(v) for k,v in ks.items()},flush=True)
